# What one does with this repository. All of it happens in .venv: set up once, again when pyproject.toml changes.
#
#   make demo     run the first notebook on the local backend, without a Modal account or a GPU
#   make lab      open it in JupyterLab; prints the address
#   make check    formatting, lint, types, import laws, layout, words of messages
#   make test     check, and every test beside it
#   make bench    the figures, each beside its yardstick; make bench-quick: some of them, in a minute
#   make js       build modal_gpu_magic/ui/static from js/ (needs node; what it builds is committed)

PYTHON ?= python3
JOBS ?= 3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
  --constraint tests/constraints.txt --editable
# pip compiles on one core. What does not compile (packages carry templates and Python 2) is left alone.
COMPILE := $(BIN)/python -m compileall -q -j 0 .venv/lib >/dev/null || true

.PHONY: demo lab check test bench bench-quick js chromium clean

demo: .venv/.demo
	@$(BIN)/python notebooks/run.py notebooks/01-first-cell.ipynb
	@echo
	@echo 'Next: make lab opens this notebook in JupyterLab. In a notebook of your own, write'
	@echo '    %load_ext modal_gpu_magic'
	@echo '    %%modal_gpu H100        at the top of a cell'
	@echo 'Run $(BIN)/modal setup to use GPUs of your Modal account.'

lab: .venv/.demo
	@$(BIN)/python notebooks/lab.py notebooks/01-first-cell.ipynb

check: .venv/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tests/checks/layout.py
	$(BIN)/python tests/checks/wording.py
	$(BIN)/python tests/checks/built.py

# In the order of tests/conftest.py. Python keeps what it compiled, whatever the environment says: some 2,000
# processes import this package. Half of a test's time is waiting for them: three workers keep two cores busy.
# A test that hangs ends its worker after minutes (faulthandler_timeout), and that ends the run: of a new worker, xdist
# may wait for ever.
# The checks run beside the tests; what they say is shown whole, below what the tests say. Both must pass.
test: export PYTHONDONTWRITEBYTECODE =
test: chromium .venv/.dev
	@$(MAKE) --no-print-directory check >.venv/check.txt 2>&1 & check=$$!; \
	$(BIN)/python -m pytest -n $(JOBS) --max-worker-restart 0 --dist loadfile --no-loadscope-reorder; tests=$$?; \
	wait $$check; checks=$$?; cat .venv/check.txt; \
	echo "Exit status of the tests: $$tests, of the checks: $$checks."; test $$tests$$checks = 00

# With compiled files, as a user has them.
bench bench-quick: export PYTHONDONTWRITEBYTECODE =
bench: .venv/.dev chromium
	$(BIN)/python -m tests.benchmarks

bench-quick: .venv/.dev
	$(BIN)/python -m tests.benchmarks --quick

js:
	cd js && npm ci --no-audit --no-fund && npx tsc --noEmit && npx vitest run && node build.mjs

# The browser tests drive Debian's own. Whoever is root, or may become it, gets it; anyone else is told.
SUDO := $(shell test "$$(id -u)" = 0 || command -v sudo)
chromium:
	@command -v chromium >/dev/null || { echo "Installing Chromium, which the browser tests drive: once."; \
	  $(SUDO) apt-get update -qq; \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
	  || { echo "The tests need Chromium: install Debian's package chromium."; exit 1; }

clean:
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml tests/constraints.txt | .venv/bin/python
	@echo "Setting up .venv for the demo: a minute or two, once."
	$(INSTALL) '.[demo]'
	@$(COMPILE)
	@touch $@

.venv/.dev: pyproject.toml tests/constraints.txt | .venv/bin/python
	@echo "Setting up .venv for the tests: a minute or two, once."
	$(INSTALL) '.[demo,dev]'
	@$(COMPILE)
	@touch .venv/.demo $@
