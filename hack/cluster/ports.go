package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

var handedOut = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreePort returns a TCP port of the given address (without port) that nothing listens on. It is
// taken from below the range that the kernel gives to outgoing connections, so that none of those
// takes it before the process that is to listen has started; no port is returned twice.
func FreePort(address string) (int, error) {
	handedOut.Lock()
	defer handedOut.Unlock()
	var last error
	for range 200 {
		port := 20000 + rand.IntN(12000)
		if handedOut.ports[port] {
			continue
		}
		listener, err := net.Listen("tcp", net.JoinHostPort(address, fmt.Sprint(port)))
		if err != nil {
			last = err
			continue
		}
		listener.Close()
		handedOut.ports[port] = true
		return port, nil
	}
	return 0, fmt.Errorf("finding a free port of %s between 20000 and 32000: %w", address, last)
}
