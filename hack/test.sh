#!/usr/bin/env bash
# Runs parts of the tests in the order given and prints how long each took. Run it by make.
#   build  the programs that the other parts start
#   unit   every package that does not link the API server
#   api    the packages that do
#   e2e    real hubs, members and agents: what is below ./e2e and was in no part before
#   docs   a quickstart beside the user's own, and on it every command that README and docs show
#   tools  helm
#   can    whether this machine can have a real node
#   node   what makes this machine a real node of a cluster
#   helm   the charts, installed into real clusters with containers
#   race   what unit runs and the packages below ./e2e, with the race detector
# Nothing is vetted here: the first time that takes minutes, for it reads all of Kubernetes. make verify
# does it.
set -euo pipefail
cd "$(dirname "$0")/.."

# The packages with tests; $1 is "links" or "free", by whether their test program contains the API
# server.
packages() {
	go list -test -f '{{$api := "free"}}{{range .Deps}}{{if eq . "k8s.io/kubernetes/cmd/kube-apiserver/app"}}{{$api = "links"}}{{end}}{{end}}{{.ImportPath}} {{$api}}' ./... |
		sed -n "s|\.test $1\$||p"
}

build() { make --no-print-directory build; }
unit() {
	local list
	# Apart from the use: a failure inside an argument would go unnoticed.
	list=$(packages free | sed '/\/e2e/d')
	helm_for_charts
	go test -vet=off $list
}
# Without helm, such as offline, the charts' tests are left out, and this line says so.
helm_for_charts() {
	if [ -z "${WINDLASS_HELM:-}" ] && ! tools; then
		echo "the charts were NOT rendered: helm could not be installed (make tools)"
	fi
}
api() {
	local list
	list=$(packages links)
	[ -n "$list" ] || return 0
	go test -vet=off -timeout 10m $list
}
e2e() {
	local list=./e2e/...
	# What is below has been tested then: race has what does not link the API server, and api what does.
	[[ " $parts " != *" race api "* ]] || list=./e2e
	echo "left out: the charts installed on real nodes, which takes root and minutes (make e2e-helm)"
	WINDLASS_E2E_BIN=$PWD/bin go test -vet=off -count=1 -timeout 20m -parallel 4 ${RUN:+-run "$RUN" -v} $list
}
tools() { [ -x bin/tools/helm ] || make --no-print-directory tools; }
can() {
	if [ "$(uname -s)" != Linux ]; then
		echo "real nodes need Linux; this is $(uname -s)" >&2
		return 1
	fi
	go run ./hack/node/check
}
node() { make --no-print-directory node; }
helm() {
	WINDLASS_E2E_HELM=1 go test -vet=off -count=1 -timeout 20m -v ./e2e/install
}
docs() {
	# In a subshell, as every part is: the trap is its own, and outlives what is local to a function.
	docs_dir=$(mktemp -d)
	export WINDLASS_QUICKSTART_DIR=$docs_dir/quickstart
	trap 'docs_end $?' EXIT
	make --no-print-directory quickstart >"$docs_dir/quickstart.log" 2>&1
	KUBECONFIG=$WINDLASS_QUICKSTART_DIR/kubeconfig WINDLASS_DOCTEST_DIR=$PWD \
		go test -vet=off -count=1 -timeout 10m -parallel 6 -run TestTheCommandsOfTheDocumentsWork -v ./docs/doctest
}
# What went wrong is in the logs, which end with the quickstart.
docs_end() {
	if [ "$1" != 0 ]; then
		cat "$docs_dir/quickstart.log"
		tail -n 60 "$WINDLASS_QUICKSTART_DIR"/*/windlass-*.log 2>/dev/null || true
	fi
	make --no-print-directory quickstart-down >/dev/null
	rm -rf "$docs_dir"
}
race() {
	local list
	if ! command -v "${CC:-gcc}" >/dev/null; then
		echo "the race detector needs a C compiler, and ${CC:-gcc} is not installed (Debian: apt-get install gcc libc6-dev)" >&2
		return 1
	fi
	# The flow's own tests are left out: what they prove happens in programs that they start, which are
	# not built with the detector. The parts of those programs are in the packages that are tested here.
	list=$(packages free | sed '/\/e2e$/d')
	helm_for_charts
	# More of them at a time than there are cores: the longest ones wait more than they compute.
	WINDLASS_E2E_BIN=$PWD/bin CGO_ENABLED=1 go test -vet=off -race -p $((2 * $(nproc))) $list
}

parts=$*
timings=""
report() { printf '\ntime of each part:\n%s' "$timings"; }
trap report EXIT
for part in "$@"; do
	echo "== $part"
	began=$SECONDS
	status=0
	# A subshell with -e of its own: as the operand of || a function would run on after a failure.
	set +e
	(set -e; "$part")
	status=$?
	set -e
	took=$((SECONDS - began))
	timings+=$(printf '  %-6s %2d min %02d s%s' "$part" $((took / 60)) $((took % 60)) "$([ $status = 0 ] || echo '  FAILED')")$'\n'
	[ $status = 0 ] || exit $status
done
