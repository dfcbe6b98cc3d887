// Command check says whether this machine can be a real node of a member cluster for tests, and what it lacks.
package main

import (
	"fmt"
	"os"

	"windlass.dev/windlass/hack/cluster"
)

func main() {
	if err := cluster.NodeAvailable(); err != nil {
		fmt.Fprintf(os.Stderr, "this machine can't have a real node: %v\n", err)
		os.Exit(1)
	}
}
