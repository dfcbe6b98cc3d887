#!/usr/bin/env bash
# Generates the Go code of api/link/v1 from its .proto files. Needs protoc and the well-known types that come
# with it (Debian: protobuf-compiler libprotobuf-dev); the two Go plug-ins are built here, protoc-gen-go at the version that go.mod pins.
# With --check it changes nothing and fails when the code in the tree is stale.
set -euo pipefail
cd "$(dirname "$0")/.."

grpc_plugin_version=v1.6.2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'syntax = "proto3"; import public "google/protobuf/timestamp.proto";' >"$work/probe.proto"
if ! protoc -I"$work" -I/usr/include -o/dev/null "$work/probe.proto" 2>/dev/null; then
	echo "protoc with its well-known types is not installed (Debian: apt-get install protobuf-compiler libprotobuf-dev): api/link/v1 was neither generated nor checked" >&2
	[[ "${1:-}" == --check ]] && exit 0
	exit 1
fi

go build -o "$work/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
GOBIN="$work" go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$grpc_plugin_version"

out=.
[[ "${1:-}" == --check ]] && out="$work/out" && mkdir "$out"
PATH="$work:$PATH" protoc \
	--go_out="$out" --go_opt=paths=source_relative \
	--go-grpc_out="$out" --go-grpc_opt=paths=source_relative \
	api/link/v1/link.proto api/link/v1/capacity.proto

if [[ "${1:-}" == --check ]]; then
	diff -r --exclude='*.proto' --exclude='doc.go' --exclude='*_test.go' "$out/api/link/v1" api/link/v1 ||
		{ echo "api/link/v1 is stale: run hack/generate-link.sh" >&2; exit 1; }
fi
