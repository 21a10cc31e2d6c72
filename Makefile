GO    ?= go
TOOL  := $(GO) tool -modfile=tools.mod
FUZZ  ?= 10s
COUNT ?= 1

# ugorji/go/codec's code for each kind of slice and map is a quarter of the program, and decodes what applications' values are made of,
# which the gateway never does for those who call through it.
TAGS  := -tags codec.notfastpath

.PHONY: build test race lint fmt fuzz bench e2e ci

build: ## one static binary
	CGO_ENABLED=0 $(GO) build $(TAGS) -trimpath -o bin/gateway ./cmd/gateway

test:
	$(GO) test ./...

race:
	$(GO) test -race ./...

lint: ## the first run builds the linter, which takes minutes
	$(TOOL) golangci-lint run ./...
	cd e2e && $(GO) tool -modfile=../tools.mod golangci-lint run --config ../.golangci.yml ./...
	cd deploy && $(GO) tool -modfile=../tools.mod golangci-lint run --config ../.golangci.yml ./...

fmt:
	$(TOOL) golangci-lint fmt ./...

fuzz: ## every fuzz target for FUZZ
	@.ci/fuzz $(FUZZ)

bench: ## COUNT=10 gives benchstat something to work with
	$(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) ./...

bench-footprint: build-stripped ## size, time to start, memory idle and of idle streams and sessions; takes three minutes
	cd e2e && $(GO) run ./footprint ../bin/gateway-stripped

.PHONY: build-stripped bench-footprint
build-stripped: ## as in the image
	CGO_ENABLED=0 $(GO) build $(TAGS) -trimpath -ldflags='-s -w' -o bin/gateway-stripped ./cmd/gateway

e2e: ## the real binary against real clients
	@.ci/clients
	cd e2e && $(GO) test ./...

ci:
	@.ci/run
