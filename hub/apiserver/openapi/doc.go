// Package openapi holds the OpenAPI definitions of the hub's own kinds, and nothing else: they are
// generated from the types below api by `make generate`.
package openapi
