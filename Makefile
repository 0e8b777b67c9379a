# Two commands set everything up: `make demo` and `make test`. Python 3.11 or newer, and a registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench clean

# requirements.lock pins what was tested; setup.py has the ranges.
$(VENV)/installed: requirements.lock setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; run: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@echo "Installing into $(VENV) (about 2 minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --progress-bar on --disable-pip-version-check -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/tested: $(VENV)/installed requirements-test.lock
	@echo "Installing what the tests need (about a minute) ..."
	@$(BIN)/pip install --quiet --progress-bar on --disable-pip-version-check -r requirements-test.lock
	@touch $@

demo: $(VENV)/installed
	$(BIN)/python -m xlt_jax.recipes run demo --parallel 2

test: $(VENV)/tested
	$(BIN)/python -m pytest

lint: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(VENV)/installed
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) runs build *.egg-info
