# Everything runs from here; `make help` lists it. Two commands matter to a newcomer:
#   make demo   sets everything up and sends a real file and a real folder between two processes
#   make test   sets everything up and runs the tests (at most 25 minutes on two cores)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-stamp

.DEFAULT_GOAL := help
comma := ,

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("wraith needs Python 3.11 or later: make PYTHON=python3.12 setup") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "wraith: installing the locked tools and libraries into $(VENV) (about a minute, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: setup
setup: $(STAMP)  ## make the virtual environment and, where a compiler is present, the native part
	@sh tools/build-native.sh $(BIN)/python

.PHONY: demo
demo: setup  ## send a real file and a real folder between two processes and show what happened
	@$(BIN)/python -m wraith.testing.demo

.PHONY: test
test: setup  ## run the tests (with both implementations of the hot path where both are there)
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow and not install"

.PHONY: test-slow
test-slow: setup  ## run the long tests too (many seeds, large files); never gates a change
	@HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not install"

.PHONY: lint
lint: $(STAMP)  ## style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: types
types: $(STAMP)  ## strict type checks
	@$(BIN)/mypy

.PHONY: architecture
architecture: $(STAMP)  ## imports point down only; only aio, cli and testing touch the world
	@$(BIN)/lint-imports
	@$(BIN)/python tools/check_tree.py
	@$(BIN)/python tools/import_graph.py --check

.PHONY: dist
dist: setup  ## make what can be installed into dist/ (URL=... where it will be found, ONLY=name,name)
	@WRAITH_DIST_URL="$(URL)" $(BIN)/python tools/make_dist.py \
		$(if $(ONLY),--only $(subst $(comma), ,$(ONLY)))

.PHONY: dist-check
dist-check: dist  ## make dist, then install each artefact into an empty system and send a file
	@$(BIN)/python -m pytest -q tests/install $(if $(ONLY),--ignore tests/install/test_other_machines.py)

.PHONY: architecture-graph
architecture-graph: $(STAMP)  ## draw the imports of the tree into docs/explanation/architecture.md
	@$(BIN)/python tools/import_graph.py

.PHONY: native-check
native-check: setup  ## clippy, Rust tests and the dependency audit, where cargo is present
	@sh tools/check-native.sh

.PHONY: interop
interop: setup  ## build the foreign QUIC peers and the emulated link where their toolchains are present
	@sh tools/build-interop.sh
	@sh tools/build-link.sh

.PHONY: advisories
advisories: $(STAMP)  ## known vulnerabilities of all dependencies, where the data can be had
	@sh tools/check-advisories.sh $(BIN)/python

.PHONY: check
check:  ## what continuous integration runs, tests first; says how long each step took
	@MAKE="$(MAKE)" bash tools/check.sh

.PHONY: spec-coverage
spec-coverage: setup  ## run the mutations of what differs from tests/spec_mutations/seen.json, write it
	@$(BIN)/python tools/spec_coverage.py --changed --update

.PHONY: check-all
check-all: check  ## check, then every artefact, then every mutation, in the native part too
	@"$(MAKE)" --no-print-directory dist-check
	@$(BIN)/python tools/spec_coverage.py --update

.PHONY: bench
bench: setup  ## measure beside peers and limits (ONLY=name,name for some); JSON goes to bench/results/
	@$(BIN)/python bench/run.py $(foreach name,$(subst $(comma), ,$(ONLY)),--only $(name))

.PHONY: docs
docs: $(STAMP)  ## build the documents as a site into build/site; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean
	@echo "wraith: the site is in build/site/index.html"

.PHONY: format
format: $(STAMP)  ## rewrite the sources in the house format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

LOCK := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header

.PHONY: lock
lock: $(STAMP)  ## resolve the dependencies anew and pin them with hashes (with a pinned uv)
	@test -x .build/lock/bin/python || $(PYTHON) -m venv .build/lock
	@.build/lock/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/tools.txt
	@.build/lock/bin/$(LOCK) --all-extras pyproject.toml requirements/dev.in -o requirements/dev.txt
	@.build/lock/bin/$(LOCK) -c requirements/dev.txt pyproject.toml -o requirements/run.txt
	@.build/lock/bin/$(LOCK) requirements/dist.in -o requirements/dist.txt
	@.build/lock/bin/$(LOCK) requirements/wormhole.in -o requirements/wormhole.txt
	@.build/lock/bin/$(LOCK) requirements/tools.in -o requirements/tools.txt

.PHONY: clean
clean:  ## remove what was built (not the virtual environment)
	@rm -rf build dist interop-bin .build native/target .mypy_cache .ruff_cache .pytest_cache .hypothesis
