# The two commands a newcomer needs: `make demo` and `make test`. Both create .venv and install what is locked, by hash.
.DEFAULT_GOAL := help
.PHONY: help demo test bench docs fmt lock clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
LOCKER := $(BIN)/python -m uv pip compile pyproject.toml --group build --universal --python-version 3.11 \
          --generate-hashes --no-emit-index-url --no-header --quiet

help:
	@echo "make demo          plays the sales story and keeps running until Ctrl-C (ONCE=1: plays it and exits; BACKEND=stripe: bills on a look-alike of Stripe)"
	@echo "make test          every test, with ruff, mypy and the import contracts among them"
	@echo "make bench         the benchmarks, each with the ratio to a floor measured in the same run"
	@echo "make docs          writes docs/billing.md: examples with what the program prints for them"
	@echo "make fmt           formats and sorts imports"
	@echo "make clean         removes .venv and caches"

$(VENV)/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed, and there is no '$(PYTHON)'. Install it, or say: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Say: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# The stamps record that a lock is installed; a development environment is a superset, so it serves the demo too.
$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/pyvenv.cfg
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml | $(VENV)/pyvenv.cfg
	$(PIP) --require-hashes -r requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/connector demo $(if $(filter-out 0,$(ONCE)),--once) $(if $(BACKEND),--backend $(BACKEND))

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: $(VENV)/.installed
	$(BIN)/python -m bench
	$(BIN)/python -m bench.stripe

docs: $(VENV)/.installed-dev
	$(BIN)/python tests/billing_page.py > docs/billing.md.new && mv docs/billing.md.new docs/billing.md

fmt: $(VENV)/.installed-dev
	$(BIN)/ruff check --select I --fix --quiet .
	$(BIN)/ruff format --quiet .

# For the maintainer after a change of dependencies. UPGRADE=1 takes newer versions.
lock: $(VENV)/.installed-dev
	@$(BIN)/python -c 'import uv' 2>/dev/null || $(PIP) uv
	$(LOCKER) $(if $(UPGRADE),--upgrade) --output-file requirements.lock
	$(LOCKER) --group dev $(if $(UPGRADE),--upgrade) --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
