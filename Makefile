# Everything runs in its own environment, .venv. A torch that is there already is kept, so install a CUDA build first
# if you want one.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BENCH_ARGUMENTS ?=
# What to test: make test TESTS=tests/hub
TESTS ?=
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test stress check bench clean

help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.installed ## set everything up in .venv, and check a small model that comes with the project
	$(BIN)/python scripts/demo.py

test: $(VENV)/.installed ## run the tests (TESTS=tests/hub: one room)
	$(PYTEST) --durations=20 $(TESTS)

stress: $(VENV)/.installed ## run further variants of what the tests cover
	$(PYTEST) --durations=20 -m stress $(TESTS)

check: $(VENV)/.installed ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.installed ## run the benchmarks
	for script in scripts/bench_*.py; do $(BIN)/python $$script $(BENCH_ARGUMENTS) || exit 1; done

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): about 2.5 GB, a few minutes."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@
