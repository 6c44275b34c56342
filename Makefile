# What a person types. `make demo` needs Python 3.11 or later and a package registry, nothing else.

VENV ?= .venv
BIN := $(VENV)/bin
# The first interpreter that is recent enough; 3.11 is the one that constraints.txt was made with.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Quiet twice: pip's errors stay, its notices go.
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
REQUIREMENTS := pyproject.toml constraints.txt Makefile

.PHONY: demo test test-fast test-all test-studio test-clients chaos check lint images

demo: $(VENV)/.installed-embedded
	@$(BIN)/panoweave demo

# In processes that share nothing: each has a Redis, an S3 server and one torch thread of its own.
# Four on two cores: half of the time is waiting, for a process or a time limit.
PYTEST := $(BIN)/pytest -n $(or $(JOBS),4) --dist loadfile --no-loadscope-reorder

test: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

# What needs no torch, in an environment without it: minutes less to install, and most of the service.
test-fast: $(VENV)/.installed-test
	$(PYTEST) -m "not slow"

# Everything, as before a release: also the slow tests, a larger chaos, the whole contract
# and all mutated pictures.
test-all: $(VENV)/.installed-dev
	CONTRACT_PERCENT=100 MUTATED_PERCENT=100 $(PYTEST)

# The studio in a browser, every journey: minutes.
test-studio: $(VENV)/.installed-dev
	$(BIN)/pytest tests/deploy/studio

# What `make test` leaves out of the clients: needs Node and npm.
test-clients: $(VENV)/.installed-dev
	$(BIN)/pytest -m slow tests/service/client tests/service/test_openai_programs.py tests/deploy/examples/test_clients_page.py

chaos: $(VENV)/.installed-dev
	$(BIN)/python -m tests.faults.chaos --report docs/reliability.md

# The two images, by buildah: neither root nor a daemon is needed. On Debian: apt install buildah uidmap.
# Where processes may not be confined further, as inside a container: BUILDAH_ISOLATION=chroot.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
images:
	buildah build --format docker --layers --target api -t panoweave-api:$(VERSION) .
	buildah build --format docker --layers --target worker -t panoweave-worker:$(VERSION) .

check: lint test

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry core service worker deploy panoweave_client
	$(BIN)/deptry tests bench clients --exclude .venv --ignore DEP002,DEP004
	cd clients/python && $(abspath $(BIN))/deptry src
	$(BIN)/python -m clients.generate --check
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/python -m tests.deploy.chart

$(VENV)/.installed-%: $(REQUIREMENTS) | $(BIN)/python
	@echo "installing panoweave[$*] into $(VENV) (with PyTorch: minutes, and a few GB, the first time)"
	@$(PIP_INSTALL) -e ".[$*]"
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "panoweave needs Python 3.11 or later: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { echo "its venv module is missing; on Debian: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }
