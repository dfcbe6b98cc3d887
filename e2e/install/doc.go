// Package install proves what README says of installing: both charts, by helm, into clusters whose nodes run real
// containers. It is started by make e2e-helm, as root, and left out of everything else.
package install
