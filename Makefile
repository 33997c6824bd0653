# `make` lists the targets. Needs rustup (the toolchain in rust-toolchain.toml installs itself), a C compiler, curl and
# openssl; the SDK tests also Python 3.10+ with venv.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

CARGO ?= cargo
# Where the release binary runs: static, so on any Linux of that processor; this machine's unless given.
TARGET ?= $(if $(filter aarch64 arm64,$(shell uname -m)),aarch64,x86_64)-unknown-linux-musl
# cargo-deny is built on demand, so its version is a choice of ours.
CARGO_DENY_VERSION ?= 0.20.2
CARGO_FUZZ_VERSION ?= 0.13.2
# Fuzzing needs a nightly compiler. FUZZ_SECONDS is per target; one target after the other.
FUZZ_TOOLCHAIN ?= nightly
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= agreement chunked entra filter head location pem pfx response

# Tests of the running program mostly wait for it: several at a time for each processor.
TEST_THREADS ?= $(shell expr 4 \* $$(nproc))

# What `make dist` builds for.
DIST_TARGETS ?= x86_64-unknown-linux-musl aarch64-unknown-linux-musl
# Signs what `make dist` and `make vendor` make: a file of `minisign -G`.
MINISIGN_KEY ?=
# What `make test-deploy` and `make test-attack` try: names of their steps; all unless given.
STEPS ?=
# `make prove`: short or long.
PROVE ?= short
# What `make bench` measures: names of its parts; all unless given. BENCH_SECONDS is per measurement of its part `pausing`.
PARTS ?=
BENCH_SECONDS ?= 10

BINARY := target/$(TARGET)/release/auth-proxy
TINY_HTTP_BINARY := target/debug/auth-proxy-tiny_http

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: rust-target ## Build the static release binary (TARGET=aarch64-unknown-linux-musl)
	CARGO='$(CARGO)' deploy/dist/compile.sh $(TARGET)
	@ls -l $(BINARY)

.PHONY: run
run: ## See it work on this machine, against a simulator; REAL=1: run it with this environment's settings
	+@$(MAKE) --no-print-directory -j2 build $(if $(filter 1,$(REAL)),,simulator)
	@TARGET=$(TARGET) tools/demo.sh $(if $(filter 1,$(REAL)),--real)

.PHONY: simulator
simulator: rust-target
	$(CARGO) build --locked --quiet --example sim

.PHONY: test
test: fmt-check compiled unit it clients deploy-check ## Everything that CI checks

# The release build ends with a minute on one processor: the other one compiles the tests meanwhile, and what the clients
# need is on its way.
.PHONY: compiled
compiled:
	+$(MAKE) --no-print-directory --output-sync -j3 build compiled-tests clients-install

.PHONY: clients-install
clients-install:
	tests/clients/install.sh

.PHONY: compiled-tests
compiled-tests: lint-default
	$(CARGO) test --locked --quiet --no-run --lib --bins --test spec
	$(CARGO) build --locked --quiet --example sim

# A copy: the next build of the default server takes the name back.
.PHONY: tiny_http-binary
tiny_http-binary: lint-default
	$(CARGO) build --locked --quiet --features tiny_http
	cp target/debug/auth-proxy $(TINY_HTTP_BINARY)

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt

.PHONY: fmt-check
fmt-check:
	$(CARGO) fmt --check

.PHONY: lint
lint: lint-default ## Clippy, warnings are errors
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --lib --bins --examples --features tiny_http -- -D warnings

.PHONY: lint-default
lint-default:
	$(CARGO) clippy --locked --lib --bins --test spec --example sim -- -D warnings

.PHONY: unit
unit: ## Unit tests
	$(CARGO) test --locked --lib --bins

.PHONY: it
it: build ## The specification: the release binary against the simulator
	AUTH_PROXY_BIN=$(CURDIR)/$(BINARY) $(CARGO) test --locked --test spec -- --test-threads=$(TEST_THREADS)

.PHONY: it-tiny_http
it-tiny_http: tiny_http-binary ## The main job on the tiny_http server (make clients-all: its SDKs)
	AUTH_PROXY_SERVER=tiny_http AUTH_PROXY_BIN=$(CURDIR)/$(TINY_HTTP_BINARY) $(CARGO) test --locked --test spec -- --include-ignored \
	    forwarding:: streaming:: overload:: tiny_http:: shutdown:: socket_activation::

.PHONY: shipped
shipped: build ## What the release binary promises: memory of a gibibyte each way, of 1,000 WebSockets, of streams and uploads; 100 bursts
	for promise in a_gibibyte_each_way a_thousand_idle_websockets costs_at_most a_hundred_bursts; do \
	    AUTH_PROXY_BIN=$(BINARY) $(CARGO) test --locked --test slow $$promise -- --nocapture; done

.PHONY: clients
clients: build ## The real SDKs against the running binary
	tests/clients/run.sh
	TARGET=$(TARGET) tools/demo.sh --once

.PHONY: clients-all
clients-all: build ## As clients, and LiteLLM's proxy as a client of ours
	tests/clients/run.sh default oldest tiny_http litellm-proxy

.PHONY: test-faults
test-faults: build ## What networks do to connections, at both sides, each with its expected outcome (DNS, IMDS: as root)
	$(CARGO) test --locked --test spec --test slow network_faults:: -- --nocapture --test-threads=2
	$(CARGO) build --locked --example sim
	BINARY=$(BINARY) tools/faults/dns.py
	BINARY=$(BINARY) tools/faults/imds.sh

.PHONY: test-attack
test-attack: build ## Attack the release binary: slow clients, overload, floods, exhaustion, `prove` (slowhttptest; STEPS="slow drain")
	$(CARGO) build --locked --example sim
	BINARY=$(BINARY) tools/attack/run.py $(STEPS)

.PHONY: prove
prove: build ## Constant load while everything is replaced or fails; writes docs/reliability.md (some 12 minutes; PROVE=long: 2 hours)
	$(CARGO) build --locked --example sim
	BINARY=$(BINARY) PROVE=$(PROVE) tools/prove/prove.py --write

.PHONY: test-tls
test-tls: build ## testssl.sh against the TLS of the release binary: protocols, ciphers, known weaknesses
	BINARY=$(BINARY) tools/tls/run.sh

.PHONY: bench
bench: build ## Measure beside nginx, HAProxy, Caddy and a Python reference; writes docs/performance.md (PARTS="pausing memory")
	$(CARGO) build --locked --example sim
	TARGET=$(TARGET) BENCH_SECONDS=$(BENCH_SECONDS) tools/bench/run.sh $(PARTS)

.PHONY: deploy-check
deploy-check: ## Manifests, compose file, unit and image against the settings and each other (Pod Security, ports, versions)
	tools/deploy/check.sh

.PHONY: test-conformance
test-conformance: build ## Hundreds of odd requests: what auth-proxy, nginx and HAProxy make of them (needs both)
	$(CARGO) build --locked --example sim
	BINARY=$(BINARY) tools/conformance/run.py

.PHONY: test-browser
test-browser: build ## What a web page can reach through the proxy, in a real browser (Chromium)
	$(CARGO) build --locked --example sim
	BINARY=$(BINARY) tools/browser/run.py

.PHONY: test-monitoring
test-monitoring: ## Provoke each alert in the running program, before a real Prometheus with short times (prometheus)
	$(CARGO) build --locked --bin auth-proxy --example sim
	BINARY=target/debug/auth-proxy tools/monitoring/run.py

.PHONY: test-websockets
test-websockets: build ## Autobahn through the proxy and without it, some 500 cases (PYTHON2: a Python 2.7 with virtualenv)
	AUTH_PROXY_BIN=$(BINARY) tools/autobahn/run.sh

.PHONY: test-deploy
test-deploy: build ## Image, Kubernetes, systemd, air gap, releases: all that this machine can try
	$(CARGO) build --locked --example sim
	CARGO='$(CARGO)' TARGET=$(TARGET) DIST_TARGETS='$(DIST_TARGETS)' tools/deploy/run.sh $(STEPS)

.PHONY: dist
dist: rust-target ## Everything of a release, into dist/ (Python 3.11+, gcc-aarch64-linux-gnu; MINISIGN_KEY=FILE signs it)
	CARGO='$(CARGO)' MINISIGN_KEY='$(MINISIGN_KEY)' deploy/dist/dist.sh $(DIST_TARGETS)

.PHONY: vendor
vendor: ## The committed sources with every crate, into dist/: builds without a network
	CARGO='$(CARGO)' MINISIGN_KEY='$(MINISIGN_KEY)' deploy/dist/vendor.sh

.PHONY: soak
soak: ## A minute of traffic while Entra ID fails, restarts, and the certificate rotates
	$(CARGO) test --locked --test slow soak:: -- --nocapture

.PHONY: audit
audit: target/tools/bin/cargo-deny ## Advisories, licences, sources and banned crates (builds cargo-deny once)
	target/tools/bin/cargo-deny --locked --all-features check

.PHONY: fuzz
fuzz: target/tools/bin/cargo-fuzz ## Fuzz the parsers, 10 minutes each (FUZZ_TARGETS=head FUZZ_SECONDS=60)
	FUZZ_TOOLCHAIN=$(FUZZ_TOOLCHAIN) fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)

.PHONY: clean
clean: ## Remove everything that was built
	$(CARGO) clean

# The toolchain file brings its target along, except where the toolchain was installed without it.
.PHONY: rust-target
rust-target:
	@if command -v rustup >/dev/null; then for target in $(TARGET) $(if $(filter dist,$(MAKECMDGOALS)),$(DIST_TARGETS)); do \
	    if ! rustup target list --installed | grep -qx "$$target"; then rustup target add "$$target"; fi; done; fi

target/tools/bin/cargo-deny: Makefile
	$(CARGO) install --locked --root target/tools --version $(CARGO_DENY_VERSION) cargo-deny
	touch $@

target/tools/bin/cargo-fuzz: Makefile
	$(CARGO) install --locked --root target/tools --version $(CARGO_FUZZ_VERSION) cargo-fuzz
	touch $@
