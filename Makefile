# Windlass is pure Go: nothing but the race detector needs a C compiler. Exported here, so that all
# builds and tests share one build cache: a package compiled with other settings is compiled twice.
export CGO_ENABLED := 0

GO ?= go
# More flags for the build, such as -v.
BUILD_FLAGS ?=
# What the programs say of their version; Kubernetes' own is that of the module in go.mod.
VERSION ?= v0.1.0-dev
KUBERNETES := k8s.io/component-base/version
# No debug information: the two programs with an API server in them link in half the time. Version
# control is not asked: a commit would link everything again, and a tarball has none.
LINK_FLAGS := -buildvcs=false -ldflags='-s -X windlass.dev/windlass/pkg/version.Version=$(VERSION) \
  -X $(KUBERNETES).gitVersion=v1.37.2 -X $(KUBERNETES).gitMajor=1 -X $(KUBERNETES).gitMinor=37'

# Of images: the architectures, such as amd64,arm64 (default: that of this machine); what stands before the
# program in their names; and the registry and repository that they are pushed to, if any.
ARCH ?=
REPOSITORY ?= windlass.dev
PUSH ?=

# The helm that the charts are tested with.
HELM_VERSION := v4.3.1

.DEFAULT_GOAL := help
.PHONY: help build programs images tools quickstart quickstart-down commit test test-race generate verify bench e2e e2e-helm node clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One after the other: linking a program with an API server takes 3 GiB.
build: commit programs ## Build windlass-hub, windlass-agent, windlass and member (clusters for tests) into bin/
	$(GO) build $(LINK_FLAGS) $(BUILD_FLAGS) -o bin/ ./hack/member

# For the bench: while it runs for hours another commit may be checked out. A tarball has none.
commit:
	@mkdir -p bin && rm -f bin/commit
	@commit=$$(git rev-parse --short=10 HEAD 2>/dev/null) || exit 0; \
	  test -z "$$(git status --porcelain --untracked-files=no -- ':!*.md')" || commit="$$commit with changes"; \
	  echo "$$commit" > bin/commit

# What users run, without the clusters for tests. Images ask for it with another architecture and folder.
INTO := bin
PROGRAMS := ./cmd/windlass-hub ./cmd/windlass-agent ./cmd/windlass
programs:
	@mkdir -p $(INTO)
	$(GO) build $(LINK_FLAGS) $(BUILD_FLAGS) -o $(INTO)/ $(PROGRAMS)

images: ## Pack what make build made into OCI images, bin/images/*.tar; ARCH=amd64,arm64 PUSH=registry/repo
	@$(GO) run ./hack/images -arch='$(ARCH)' -repository='$(REPOSITORY)' -version='$(VERSION)' -push='$(PUSH)' \
	  -zoneinfo="$$($(GO) env GOROOT)/lib/time/zoneinfo.zip"

quickstart: ## Build, start a hub and two member clusters here, join them, apply a sample, leave it running
	@$(GO) run ./hack/quickstart up

quickstart-down: ## End what quickstart started and remove its state
	@$(GO) run ./hack/quickstart down

# With it, what does not link the API server is tested with the race detector: RACE=1.
RACE ?=
test: ## Run all tests, those with real hubs and members too; RACE=1 with the race detector, which needs a C compiler
	@hack/test.sh build $(if $(RACE),race,unit) api docs e2e

test-race: ## Run only what RACE=1 tests with the race detector: every package that does not link the API server
	@hack/test.sh build race

e2e: ## Run the end-to-end tests alone; RUN=name runs those that match
	@hack/test.sh build e2e

e2e-helm: ## Install the charts into real clusters with containers on this machine, as root, and try everything
	@hack/test.sh can build tools node helm

# A real node for a member: kubelet and kube-proxy, containerd, DNS.
node: ## Build what makes this machine a real node into bin/ (for make e2e-helm)
	$(GO) build $(LINK_FLAGS) $(BUILD_FLAGS) -o bin/ ./hack/node ./hack/node/pause
	cd hack/node/runtime && $(GO) build -ldflags=-s $(BUILD_FLAGS) -o ../../../bin/runtime/ ./dns && \
	  GOBIN=$(CURDIR)/bin/runtime $(GO) install $(BUILD_FLAGS) tool

# Some of these, such as fan-out; all when empty. go run ./e2e/bench -help says what they are and lists their sizes.
SCENARIO ?=
SCENARIOS := trickle burst pairs agent fan-out bulk idle churn status storm schedule
# Before anything is built, which takes minutes.
ifneq ($(filter bench,$(MAKECMDGOALS)),)
ifneq ($(filter-out $(SCENARIOS),$(SCENARIO)),)
$(error there is no scenario $(filter-out $(SCENARIOS),$(SCENARIO)): want some of $(SCENARIOS))
endif
endif
# More flags for it, such as -into=BENCHMARKS.md.
BENCH_FLAGS ?=
bench: build ## Measure everything, which takes long and says so; SCENARIO=name measures one thing
	$(if $(SCENARIO),,$(GO) test -vet=off -run '^$$' -bench Over1000Clusters -benchtime 2s -cpu 1 ./pkg/schedule)
	$(GO) build $(LINK_FLAGS) $(BUILD_FLAGS) -o bin/ ./e2e/simagent
	$(GO) run ./e2e/bench $(BENCH_FLAGS) $(SCENARIO)

generate: ## Write all generated code anew
	bash hack/generate.sh
	bash hack/generate-link.sh

verify: ## Check formatting, vet, and that generated code is fresh
	@unformatted=$$(gofmt -l api agent charts cli cmd docs e2e hack hub pkg 2>/dev/null); \
	  test -z "$$unformatted" || { echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	bash hack/generate.sh --check
	bash hack/generate-link.sh --check

tools: ## Install helm, by which the charts are tested, into bin/tools/
	GOBIN=$(CURDIR)/bin/tools $(GO) install helm.sh/helm/v4/cmd/helm@$(HELM_VERSION)

clean: ## Remove what was built
	rm -rf bin
