# The front door. `make up` and `make test` need Python >= 3.11 with venv, make and a package registry.
PYTHON ?= python3
WORKERS ?= 2
QUICK := tests/unit tests/wire
BIN := .venv/bin
MESSAGES := hostpulse/v1
PAGE := $(shell find web -name node_modules -prune -o -type f -print)

.DEFAULT_GOAL := help
.PHONY: help up web dist test test-unit test-integration test-e2e test-system chaos check fmt proto proto-check dashboards dashboards-check lock clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: .venv/server.stamp ## Run everything on this machine: database, gateway, alerting, agent
	@$(MAKE) --no-print-directory web || echo "hostpulse comes up without its web page" >&2
	@exec $(BIN)/hostpulse up

web: .venv/web.stamp ## Build the web page

dist: .venv/server.stamp web ## Make wheel and sdist in dist/, with the web page in them
	$(BIN)/python -m hatchling build -d dist

test: .venv/dev.stamp ## Run every test of the default suite, quick ones first, then WORKERS (2) at a time
	$(BIN)/pytest $(QUICK)
	$(BIN)/pytest $(QUICK:%=--ignore=%) -m 'not alone' -n $(WORKERS) --dist loadscope
	$(BIN)/pytest $(QUICK:%=--ignore=%) -m alone

test-unit: .venv/dev.stamp ## Run the tests that need no process and no network
	$(BIN)/pytest tests/unit

test-integration: .venv/dev.stamp ## Run the tests against a real database and real sockets
	$(BIN)/pytest tests/integration

test-e2e: .venv/dev.stamp ## Run the tests of the whole system with real processes
	$(BIN)/pytest tests/e2e

test-system: .venv/dev.stamp .venv/web.stamp ## Run the browser tests; installs Chromium with apt-get where it is missing
	@command -v chromium >/dev/null || { echo "installing chromium" >&2; { apt-get install -y -q chromium fonts-nanum || { apt-get update -q && apt-get install -y -q chromium fonts-nanum; }; } >/dev/null; }
	$(BIN)/pytest tests/system -rP

chaos: .venv/dev.stamp ## Kill, freeze and cut everything at random, FAULTS times (60), then compare the books
	CHAOS_FAULTS=$(or $(FAULTS),60) $(BIN)/pytest tests/chaos tests/chaos/long_outages.py -rP

check: .venv/dev.stamp proto-check dashboards-check web ## Run the linters, the type checker, the import contracts, the audit of dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python web/build.py --check
	$(BIN)/python -m tests.house.dependencies

fmt: .venv/dev.stamp ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: .venv/dev.stamp ## Regenerate hostpulse/v1 from proto/
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=. --pyi_out=. --grpc_python_out=. proto/hostpulse/v1/telemetry.proto

proto-check: .venv/dev.stamp ## Fail when hostpulse/v1 is older than proto/
	@mkdir -p .venv/proto && $(BIN)/python -m grpc_tools.protoc -Iproto --python_out=.venv/proto --pyi_out=.venv/proto --grpc_python_out=.venv/proto proto/hostpulse/v1/telemetry.proto
	@for f in telemetry_pb2.py telemetry_pb2.pyi telemetry_pb2_grpc.py; do \
	  cmp -s .venv/proto/$(MESSAGES)/$$f $(MESSAGES)/$$f || { echo "$(MESSAGES)/$$f is stale: run 'make proto'" >&2; exit 1; }; done

dashboards: .venv/dev.stamp ## Regenerate dashboards/grafana from the metric catalog
	$(BIN)/python -m dashboards

dashboards-check: .venv/dev.stamp ## Fail when dashboards/grafana is older than what makes it
	@$(BIN)/python -m dashboards --check

lock: .venv/dev.stamp ## Resolve requirements/*.txt anew
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements/agent.txt
	$(BIN)/uv pip compile pyproject.toml --extra server --group build --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements/server.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --group build --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements/dev.txt

clean: ## Remove the virtual environment
	rm -rf .venv

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "hostpulse needs Python 3.11 or newer: install python3, or run make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hostpulse needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) -V): run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "hostpulse needs Python's venv: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/server.stamp: .venv/bin/python requirements/server.txt
	$(BIN)/pip install -q --require-hashes -r requirements/server.txt
	$(BIN)/pip install -q --no-deps --no-build-isolation --editable .
	@touch $@

.venv/web.stamp: .venv/bin/python $(PAGE)
	@$(BIN)/python web/build.py
	@touch $@

.venv/dev.stamp: .venv/server.stamp requirements/dev.txt
	$(BIN)/pip install -q --require-hashes -r requirements/dev.txt
	@touch $@
