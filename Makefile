# Two commands set everything up: `make demo` and `make test`. Python 3.11.4 or newer, and a registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench clean t5x aot

# T5X and what it takes from GitHub, at the commits that were tested.
T5X_PACKAGES := \
	git+https://github.com/google-research/t5x@cc342d419ec3e3e9c4bf1df33c82330cafdc1e16 \
	git+https://github.com/google/airio@69897df7d9a427b947a9f7bb4164c7782b43e601 \
	git+https://github.com/google-research/jestimator@326824a477feef6d92e6f44175000907a72899ca

# requirements.lock pins what was tested; setup.py has the ranges.
$(VENV)/installed: requirements.lock setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4))' || { echo "error: $(PYTHON) is older than 3.11.4; run: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@echo "Installing into $(VENV) (about 2 minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --progress-bar on --disable-pip-version-check -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Then `PYTHONPATH=.venv/tpu .venv/bin/python -m xlt_jax.aot ...` compiles for TPUs.
aot: $(VENV)/tpu/installed
$(VENV)/tpu/installed: requirements-tpu.txt | $(VENV)/installed
	@$(BIN)/pip install --quiet --progress-bar on --disable-pip-version-check --no-deps --upgrade --target $(VENV)/tpu -r requirements-tpu.txt
	@touch $@

$(VENV)/tested: $(VENV)/installed $(VENV)/tpu/installed requirements-test.lock
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

# Then `.venv/bin/python -m t5x.train` reads our gin files. Without GitHub, from clones of the three:
# T5X_PATH=/a/t5x:/a/airio:/a/jestimator make t5x
t5x: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-t5x.txt
ifdef T5X_PATH
	@$(BIN)/python -c 'import pathlib, sys, sysconfig; \
	  paths = [str(pathlib.Path(path).resolve()) for path in sys.argv[1].split(":")]; \
	  pathlib.Path(sysconfig.get_path("purelib"), "t5x_clones.pth").write_text("\n".join(paths) + "\n")' '$(T5X_PATH)'
else
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(T5X_PACKAGES)
endif
	@TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -c 'import t5x.train, t5x.eval, t5x.infer, t5x.config_utils' && echo "T5X can be imported."

clean:
	rm -rf $(VENV) runs build *.egg-info
