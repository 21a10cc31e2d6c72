GO    ?= go
TOOL  := $(GO) tool -modfile=tools.mod
FUZZ  ?= 10s
COUNT ?= 1

.PHONY: build test race lint fmt fuzz bench e2e ci

build: ## one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/gateway ./cmd/gateway

test:
	$(GO) test ./...

race:
	$(GO) test -race ./...

lint: ## the first run builds the linter, which takes minutes
	$(TOOL) golangci-lint run ./...

fmt:
	$(TOOL) golangci-lint fmt ./...

fuzz: ## every fuzz target for FUZZ
	@.ci/fuzz $(FUZZ)

bench: ## COUNT=10 gives benchstat something to work with
	$(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) ./...

e2e: ## the real binary against real clients
	@.ci/clients
	cd e2e && $(GO) test ./...

ci:
	@.ci/run
