// Package cluster starts, watches and stops what a fleet is made of, as processes of this machine:
// member clusters, hubs, their stores, and agents. Tests and the quickstart stand on it; it is no part of Windlass.
//
// Everything a process leaves lies in the directory it was given: its log (NAME.log), its record
// (NAME.pid) and its data. Nothing listens outside loopback, but for a member in a network
// namespace of its own, where nobody else is.
package cluster
