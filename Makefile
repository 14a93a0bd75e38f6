# One command each. Everything happens in .venv, which is made on first use.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -gt 4 ] && echo 4 || echo $$n)

.DEFAULT_GOAL := help
.PHONY: help install demo test check golden bench lint format clean

help:
	@awk -F '##' '/^[a-z]+:.*##/ {split($$1, t, ":"); printf "make %-8s%s\n", t[1], $$2}' \
	    $(firstword $(MAKEFILE_LIST))

install: $(STAMP)  ## make .venv and install sslbench with its development tools

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# uv is quicker where it is configured; pip knows mirrors that uv may not.
$(STAMP): pyproject.toml | $(BIN)/python
	@if command -v uv >/dev/null 2>&1; then \
	    uv pip install --quiet --python $(BIN)/python -e '.[dev]' \
	    || $(BIN)/python -m pip install --quiet -e '.[dev]'; \
	else \
	    $(BIN)/python -m pip install --quiet -e '.[dev]'; \
	fi
	@touch $@

demo: $(STAMP)  ## SimSiam with and without stop-gradient, measured and reported in minutes
	$(BIN)/sslbench ablate simsiam-stop-grad --scale laptop --dataset shapes --seeds 3 --jobs 2 --results runs/demo
	$(BIN)/sslbench report simsiam-stop-grad --scale laptop --results runs/demo --format html --out runs/demo

lint: $(STAMP)  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint browser  ## lint, then every test that needs no network
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal

# The report's HTML is opened in a browser where there is one; its absence fails nothing.
.PHONY: browser
browser:
	@for name in chromium chromium-browser google-chrome; do \
	        command -v $$name >/dev/null 2>&1 && exit 0; \
	    done; \
	    { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
	         && apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
	            apt-get -qq install -y --no-install-recommends chromium; } >/dev/null 2>&1 \
	    || echo "No chromium: the HTML report will be parsed, not opened in a browser."

check: $(STAMP)  ## rerun the smoke tables and compare them with results/
	rm -rf runs/check
	$(BIN)/sslbench check --runs runs/check --scale smoke --seeds 3 --jobs $(WORKERS)

golden: $(STAMP)  ## rewrite the golden losses (then raise NUMERICS and say why)
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/golden --update-golden -q

bench: $(STAMP)  ## speed and memory against lightly (in .venv-peer); about 20 minutes
	benchmarks/run.sh

format: $(STAMP)  ## ruff's fixes and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove caches; environments, runs and data stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find sslbench tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
