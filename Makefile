# Every target sets up .venv the first time. `make help` lists them.
PYTHON ?= python3
VENV   ?= .venv
PORT   ?= 8000
NB     ?=
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Compiled kernels are kept here; `make clean` removes them.
export NUMBA_CACHE_DIR := $(abspath _build/numba)

.DEFAULT_GOAL := help
.PHONY: help book lab serve test bench freeze clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One environment for all: made again when the requirements change.
$(READY): settings.ini setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; try make PYTHON=python3.13")'
	@echo "Setting up $(VENV) with $$($(PYTHON) --version): a few minutes, the first time only"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	@touch $@

book: $(READY) ## run a copy of every notebook and render the site into _docs/
	@$(BIN)/python -m tools.book

lab: $(READY) ## open the notebooks in JupyterLab
	@echo "Starting JupyterLab in nbs/ (stop with Ctrl-C)"
	@cd nbs && $(abspath $(BIN))/jupyter lab

serve: $(READY) ## serve _docs/ on localhost (PORT=8000)
	@test -f _docs/index.html || $(MAKE) --no-print-directory book
	@echo "Serving _docs at http://localhost:$(PORT) (stop with Ctrl-C)"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _docs $(PORT)

test: $(READY) ## modules in sync, notebooks with warnings as errors, pytest, every page in a browser
	@echo "Comparing the modules with a fresh export of the notebooks"
	@$(BIN)/python -m tools.sync
	@echo "Testing the notebooks, warnings being errors"
	@PYTHONWARNINGS=error $(BIN)/nbdev_test --n_workers 2 --do_print
	@echo "Running the tests; the pages are rendered first and opened in a browser"
	@$(BIN)/python -m pytest

bench: $(READY) ## time ours against its peers
	@$(BIN)/python -m benchmarks

freeze: $(READY) ## run the notebooks in place, clean them, write README.md (NB="nbs/a.ipynb ..." for a few, FORCE=1 for all)
	@$(BIN)/python -m tools.freeze $(if $(FORCE),--force) $(NB)

clean: ## remove all that was built, but not .venv
	@rm -rf _docs _proc _build build dist *.egg-info .pytest_cache .hypothesis
