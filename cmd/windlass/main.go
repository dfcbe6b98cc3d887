// Command windlass is the command line of Windlass; under the name kubectl-windlass it is a plugin
// of kubectl.
package main

import (
	"os"

	"windlass.dev/windlass/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
