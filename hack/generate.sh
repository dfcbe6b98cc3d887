#!/usr/bin/env bash
# Writes everything that is generated: deep copies, OpenAPI, protobuf, the reference pages of flags,
# settings and metrics, the tables of values of the charts. Run it by `make generate`.
# With --check it writes into a copy and fails when the committed files differ.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
tools=$root/bin/tools

if [ "${1:-}" = --check ]; then
	copy=$(mktemp -d)
	trap 'rm -rf "$copy"' EXIT
	git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do if [ -e "$f" ]; then printf '%s\0' "$f"; fi; done | tar --null -T - -cf - | tar -C "$copy" -xf -
	mkdir -p "$tools" "$copy/bin" && ln -s "$tools" "$copy/bin/tools"
	(cd "$copy" && bash hack/generate.sh)
	stale=$(cd "$copy" && find . -name 'zz_generated.*' -o -name '*.pb.go' -o -name 'generated.proto' -o -path './docs/reference/*.md' -o -path './charts/*/README.md' | sort | while read -r f; do
		cmp -s "$f" "$root/$f" || echo "$f"
	done)
	if [ -n "$stale" ]; then
		printf 'generated files are stale; run `make generate` and commit:\n%s\n' "$stale" >&2
		exit 1
	fi
	echo "generated files are fresh"
	exit 0
fi

mkdir -p "$tools"
GOBIN=$tools go build -modfile=hack/tools.mod -o "$tools/" tool
export PATH=$tools:$PATH

module=windlass.dev/windlass
groups=(policy work cluster windlass apps)
packages=()
for group in "${groups[@]}"; do packages+=("$module/api/$group/v1alpha1"); done

for group in "${groups[@]}"; do rm -f "api/$group/v1alpha1/zz_generated.deepcopy.go"; done
deepcopy-gen --go-header-file hack/boilerplate.go.txt --output-file zz_generated.deepcopy.go "${packages[@]}"

if command -v protoc >/dev/null; then
	# go-to-protobuf wants all packages below one folder under their import paths.
	tree=$(mktemp -d)
	trap 'rm -rf "$tree"' EXIT
	mkdir -p "$tree/k8s.io" "$tree/windlass.dev" "$tree/github.com/gogo"
	ln -s "$root" "$tree/windlass.dev/windlass"
	for dep in api apimachinery apiextensions-apiserver; do
		ln -s "$(go list -m -f '{{.Dir}}' "k8s.io/$dep")" "$tree/k8s.io/$dep"
	done
	ln -s "$(go list -modfile=hack/tools.mod -m -f '{{.Dir}}' github.com/gogo/protobuf)" "$tree/github.com/gogo/protobuf"
	machinery=k8s.io/apimachinery/pkg
	apimachinery="-$machinery/util/intstr,-$machinery/api/resource,-$machinery/runtime/schema,-$machinery/runtime,-$machinery/apis/meta/v1"
	apimachinery+=",-k8s.io/api/core/v1,-k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	go-to-protobuf --go-header-file hack/boilerplate.go.txt --output-dir "$tree" --proto-import "$tree" \
		--apimachinery-packages "$apimachinery" --packages "$(IFS=,; echo "${packages[*]}")"
else
	echo "protoc (Debian: protobuf-compiler) is not installed: protobuf code is left as it is" >&2
fi

# Last, because the OpenAPI of the hub also covers types whose protobuf tags were just written.
openapi-gen --go-header-file hack/boilerplate.go.txt --output-dir hub/apiserver/openapi --output-pkg "$module/hub/apiserver/openapi" \
	--output-file zz_generated.openapi.go --output-model-name-file zz_generated.model_name.go --report-filename /dev/null \
	--readonly-pkg k8s.io/apimachinery/pkg/apis/meta/v1 --readonly-pkg k8s.io/apimachinery/pkg/api/resource \
	--readonly-pkg k8s.io/apimachinery/pkg/runtime --readonly-pkg k8s.io/apimachinery/pkg/types \
	--readonly-pkg k8s.io/apimachinery/pkg/util/intstr --readonly-pkg k8s.io/apimachinery/pkg/version --readonly-pkg time \
	"${packages[@]}"

go run ./hack/docgen
go run ./hack/chartdoc

# It fails without protoc, and what needs none is fresh all the same.
if command -v protoc >/dev/null; then hack/generate-link.sh; fi
