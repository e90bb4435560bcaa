# Every target sets up .venv the first time. `make help` lists them.
PYTHON ?= python3
VENV   ?= .venv
PORT   ?= 8000
SITE   ?= _docs
NB     ?=
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Compiled kernels are kept here; `make clean` removes them.
export NUMBA_CACHE_DIR := $(abspath _build/numba)

.DEFAULT_GOAL := help
.PHONY: help book lab serve pages lessons check test coverage oldest bench freeze hooks clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

pages: $(READY) ## open every page of a rendered site in a browser (SITE=_docs)
	@$(BIN)/python -m pytest tests/site/test_pages.py -n auto --site $(SITE)

lessons: $(READY) ## run every lesson in JupyterLab, and move its figures: some ten minutes
	@$(BIN)/python -m pytest tests/site/test_lab.py --lessons -n auto --dist loadgroup

check: $(READY) ## before a commit, under a minute: lint, types, modules in sync, layers, the fast tests
	@$(BIN)/ruff check --quiet .
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/python -m tools.sync
	@$(BIN)/python -m pytest -q -n auto -m "not slow and not browser"

test: $(READY) ## modules in sync, notebooks with warnings as errors, pytest, every page in a browser
	@echo "Comparing the modules with a fresh export of the notebooks"
	@$(BIN)/python -m tools.sync
	@echo "Running copies of the notebooks, warnings being errors, and rendering them"
	@$(BIN)/python -m tools.book --nbconvert --out _build/site
	@echo "Running the tests; the pages are opened in a browser"
	@$(BIN)/python -m pytest -n auto --dist loadgroup

coverage: $(READY) ## which lines the fast tests reach, with numpy in place of compiled kernels
	@EM_NOTES_KERNELS=numpy $(BIN)/python -m coverage run -m pytest -q -m "not slow and not browser" --ignore tests/site/test_project.py
	@$(BIN)/python -m coverage report

oldest: ## the fast tests with the oldest versions that settings.ini allows, in an environment of their own
	@test -x _build/oldest/bin/python || $(PYTHON) -m venv _build/oldest
	@$(PYTHON) -m tools.oldest > _build/oldest/constraints.txt
	@_build/oldest/bin/python -m pip install --quiet --disable-pip-version-check --constraint _build/oldest/constraints.txt --editable '.[dev]'
	@_build/oldest/bin/python -m pytest -q -m "not slow and not browser" -W ignore::DeprecationWarning

bench: $(READY) ## time ours against its peers
	@$(BIN)/python -m benchmarks

freeze: $(READY) ## run the notebooks in place, clean them, write README.md (NB="nbs/a.ipynb ..." for a few, FORCE=1 for all)
	@$(BIN)/python -m tools.freeze $(if $(FORCE),--force) $(NB)

hooks: $(READY) ## git hooks: clean notebooks and lint before a commit, merge notebooks cell by cell
	@$(BIN)/pre-commit install
	@git config --local merge.nbdev-merge.name "notebooks, cell by cell"
	@git config --local merge.nbdev-merge.driver "$(abspath $(BIN))/nbdev_merge %O %A %B %P"
	@git config --local diff.nbdev.textconv "$(abspath $(BIN))/python -m tools.source"

clean: ## remove all that was built, but not .venv
	@rm -rf _docs _proc _build build dist *.egg-info .pytest_cache .hypothesis
