# SPDX-License-Identifier: Apache-2.0
# Every target may be run again at any time. `make help` lists them.

PYTHON ?= /usr/bin/python3
export PYTHON
BIN := .venv/bin

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what is missing, make .venv (repeat: instant)
	@packaging/setup
