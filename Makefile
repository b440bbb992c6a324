# Two commands: `make run` and `make test`. Both need Python 3.11 or later and pip, nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
PEER_ARGS ?=
BENCH_ARGS ?=
SECONDS ?= 60
TARGETS ?=

.PHONY: run test lint types contracts unit test-peers bench bench-long fuzz soak format clean

run: $(VENV)/.run-installed
	$(BIN)/streamserver demo $(ARGS)

test: lint types contracts unit

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev-installed
	$(BIN)/mypy

contracts: $(VENV)/.dev-installed
	$(BIN)/lint-imports

unit: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -n auto

test-peers: $(VENV)/.peers-installed
	$(BIN)/python -m tests.peers.programs --install
	$(BIN)/python -m pytest -m peer $(PEER_ARGS) tests

# Compares with what is on the machine: apt-get install nginx libnginx-mod-rtmp wrk nodejs npm; others
# by path, see benchmarks/README.md. BENCH_ARGS="--json FILE --plot FILE", or names of cases.
bench: $(VENV)/.dev-installed
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

bench-long: $(VENV)/.dev-installed
	$(BIN)/python -m benchmarks --long $(BENCH_ARGS)

# SECONDS for each target, TARGETS to choose some; led by coverage where atheris can be installed.
fuzz: $(VENV)/.dev-installed
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: -e ".[fuzz]"
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(TARGETS)

# Ten minutes; MINUTES=60 for an hour.
soak: $(VENV)/.dev-installed
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),10)

format: $(VENV)/.dev-installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.run-installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "streamserver needs Python 3.11 or later (PYTHON=python3.11 make run)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "On Debian: apt-get install python3-venv"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev-installed: $(VENV)/.run-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

$(VENV)/.peers-installed: $(VENV)/.dev-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev,peers]"
	@touch $@
