# SPDX-License-Identifier: Apache-2.0
# Every target may be run again at any time. `make help` lists them.

PYTHON ?= /usr/bin/python3
export PYTHON
BIN := .venv/bin
# More arguments: make run ARGS="-i eth1", make test-unit ARGS="-k codec", make demo ARGS="-o json".
ARGS ?=
# What test-fresh installs: a suite of Debian.
SUITE ?= bookworm
C_FILES = $(shell find bpf tests/fuzz -name '*.[ch]')

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what is missing, make .venv (repeat: instant)
	@packaging/setup

.PHONY: demo
demo: need-root setup ## set up, then a DDoS attack against a real server, in the lab (root)
	@$(BIN)/xdpwall lab run labour2019 --report build $(ARGS)

.PHONY: run
run: need-root setup ## the wall in the foreground on this host: ARGS="-i eth1" (root)
	@$(BIN)/xdpwall run $(ARGS)

.PHONY: test
test: need-root setup ## every test, on real XDP and real namespaces (root)
	@packaging/test-tools
	@packaging/fuzz-tools
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: test-unit
test-unit: setup ## only the tests that need neither root nor a kernel
	@$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: test-bpf
test-bpf: need-root setup ## only the tests of the C program, through BPF_PROG_TEST_RUN (root)
	@$(BIN)/python -m pytest tests/bpf $(ARGS)

.PHONY: test-lab
test-lab: need-root setup ## only the tests in network namespaces (root)
	@packaging/test-tools
	@$(BIN)/python -m pytest tests/lab $(ARGS)

.PHONY: fuzz
fuzz: need-root setup ## mutated packets and hostile bytes: ARGS="--packets 100000000 --seconds 900" (root)
	@packaging/fuzz-tools
	@$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: test-browser
test-browser: setup ## the reports in a real browser; installs Chromium if it is missing
	@packaging/browser
	@$(BIN)/python -m pytest tests/system/test_report_page.py $(ARGS)

.PHONY: test-fresh
test-fresh: need-root ## prove demo and test on a fresh minimal Debian: SUITE=trixie (root)
	@packaging/test-fresh $(SUITE)

.PHONY: test-system
test-system: need-root setup ## the package and its service on real systemd, in a container: ARGS=trixie (root)
	@packaging/test-system $(ARGS)

.PHONY: test-kernels
test-kernels: need-root setup ## the data path on other kernels, emulated: ARGS="6.1 6.12" (root)
	@packaging/test-kernels $(ARGS)

.PHONY: deb
deb: setup ## build the Debian package into dist/
	@packaging/deb/build

.PHONY: check-vagrant
check-vagrant: ## let vagrant look at the two-machine lab's file
	@vagrant/check

.PHONY: check
check: setup check-bpf ## lint, format, types; as root also C warnings as errors
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(if $(C_FILES),$(BIN)/clang-format --dry-run -Werror $(C_FILES))

.PHONY: check-bpf
check-bpf: setup
	@if [ "$$(id -u)" = 0 ]; then $(BIN)/python -m xdpwall.dataplane.check; \
	else echo "check-bpf: SKIPPED: compiling the C makes maps, which needs root: sudo make check" >&2; fi

.PHONY: format
format: setup ## let the tools lay out Python and C
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format -q .
	@$(if $(C_FILES),$(BIN)/clang-format -i $(C_FILES))

.PHONY: bench
bench: need-root setup ## measure what the wall costs a packet, beside its peers: PEERS=no ARGS="--quick" (root)
	@packaging/peers
	@$(BIN)/xdpwall bench $(ARGS)

.PHONY: audit
audit: ## ask a database of known vulnerabilities about every pinned library
	@packaging/audit

.PHONY: geo
geo: setup ## make the shipped table of countries and networks anew (maintainers; needs npm)
	@packaging/geo/rebuild

.PHONY: clean
clean: ## remove .venv, caches and build results; touches no loaded wall
	@rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	@find xdpwall tests -type d -name __pycache__ -prune -exec rm -rf {} +

.PHONY: need-root
need-root:
	@if [ "$$(id -u)" != 0 ]; then \
		echo "make $(firstword $(MAKECMDGOALS)): needs root, for network namespaces and BPF: sudo make $(MAKECMDGOALS)" >&2; \
		echo "(without root: make setup, make check, make test-unit)" >&2; exit 1; fi
