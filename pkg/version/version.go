// Package version holds the version of these programs, which the build sets.
package version

// Version is the version of the programs, such as v0.1.0.
var Version = "v0.0.0-unset"
