// Package linktest holds the tests of the hub's and the agent's end of the link against each other, over TLS on
// loopback. It is a package of its own because hub and agent never import each other.
package linktest
