# make demo   search real photographs, offline, with the embedded model
# make test   all tests
# make check  lint, types and tests
# make page   build the web page anew (needs Node.js)
# Each makes the environment it needs in .venv, with the versions in requirements/.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TESTS ?= tests
REFERENCE := .venv-reference

.PHONY: demo test soak page web reference check lint types venv lock benchmarks clean help

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -5

venv: $(VENV)/.made-base

demo: $(VENV)/.made-demo
	$(BIN)/python scripts/demo.py

test: $(VENV)/.made-dev reference web
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered $(TESTS)

# The kill and fault tests at length, then the service under load for half an hour, and 20,000 requests that nobody would
# write; docs/reliability.md keeps the counts.
soak: $(VENV)/.made-dev
	CROSSLENS_SOAK_CHANGES=1000 CROSSLENS_SOAK_KILLS=200 CROSSLENS_SOAK_FLIPS=1000 CROSSLENS_SOAK_SECONDS=60 $(BIN)/python -m pytest -s \
	  tests/system/test_kill.py tests/system/test_kill_commands.py tests/maintenance/test_model_migration.py tests/maintenance/test_backup_and_compact.py \
	  tests/system/test_faults.py tests/system/test_full_disk.py tests/store/test_network_filesystem.py tests/system/test_stress.py tests/watch/test_folder_watcher.py
	CROSSLENS_SOAK_SERVICE_SECONDS=1800 $(BIN)/python -m pytest -s tests/serve/test_serve_soak.py
	CROSSLENS_API_EXAMPLES=300 $(BIN)/python -m pytest tests/serve/test_serve_openapi.py

# What the tests of the page need; they are skipped, with the reason, where it cannot be had.
web:
	@if ! command -v npm >/dev/null; then echo "no npm: the tests of the page are skipped." \
	  "On Debian and Ubuntu: apt install nodejs npm chromium"; \
	elif ! command -v chromium >/dev/null; then echo "no Chromium: the tests of the page in it are skipped." \
	  "On Debian and Ubuntu: apt install chromium"; fi
	@if command -v npm >/dev/null && [ ! web/node_modules/.package-lock.json -nt web/package-lock.json ]; then \
	  npm ci --prefix web --no-audit --no-fund --loglevel=error && touch web/node_modules/.package-lock.json; fi
	@if command -v npm >/dev/null; then npm test --prefix web --silent; fi

page: web
	npm run build --prefix web

# Against torch, transformers and open_clip, in an environment of their own: the rest is tested without them.
reference: $(REFERENCE)/.made
	$(REFERENCE)/bin/python -m pytest tests/reference

check: lint types test

lint: $(VENV)/.made-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.made-dev
	$(BIN)/mypy

benchmarks: $(VENV)/.made-demo
	$(BIN)/python benchmarks/encode.py
	$(BIN)/python benchmarks/coldstart.py
	$(BIN)/python benchmarks/recall.py

lock:
	$(PYTHON) scripts/lock.py

clean:
	rm -rf $(VENV) $(REFERENCE) web/node_modules demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*

$(VENV)/.made-base: requirements/base.txt requirements/build.txt pyproject.toml
	@$(PYTHON) scripts/check_python.py
	@echo "making the environment in $(VENV) (once; a minute or two) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) cannot make virtual environments." \
	  "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(PIP) -r requirements/base.txt -r requirements/build.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c "import faiss, openvino" || { echo "error: a system library is missing, see above." \
	  "On Debian and Ubuntu: apt install libstdc++6 libgomp1"; exit 1; }
	@touch $@

$(VENV)/.made-demo: $(VENV)/.made-base requirements/demo.txt
	@$(PIP) -r requirements/demo.txt
	@touch $@

$(VENV)/.made-dev: $(VENV)/.made-demo requirements/dev.txt
	@$(PIP) -r requirements/dev.txt
	@touch $@

$(REFERENCE)/.made: $(VENV)/.made-base requirements/reference.txt requirements/dev.txt
	@echo "making the environment in $(REFERENCE) (once; some minutes) ..."
	@$(PYTHON) -m venv $(REFERENCE)
	@$(REFERENCE)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements/reference.txt -r requirements/build.txt
	@$(REFERENCE)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps --no-build-isolation --editable .
	@touch $@
