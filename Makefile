# make run    set everything up, then the whole of it at http://localhost:8000
# make live   the same with all of Bluesky instead of the demo: no key needed
# make test   set everything up, then all tests
# make soak   100 faults against all processes, then strangers for an hour, as a network and as
#             visitors, slow ones by the thousand; ten primaries of Redis that are killed; a page
#             that stays open for ten minutes; others with FAULTS=200 SEED=7 STRANGE_SECONDS=600
#             ATTEMPTS=20000 PAGE_SECONDS=3600
# make proxies  every proxy in every way, and 500 streams behind each; writes docs/proxies.md
# make bench  how fast it is, beside others; parts of it with ONLY=frames,connect
# make audit  what is known against the packages that are installed, where that can be asked
# make setup  only set up; quick, and without the network, once it is done

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin

# The first Python on PATH that will do; choose another one with PYTHON=...
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(FITS)' >/dev/null 2>&1 && { echo $$p; break; }; done)

# Of every package there are wheels; to build from source would be to run strangers' programs.
PINNED := install --require-hashes --only-binary :all:
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: run live test soak proxies bench audit setup lock check clean

run: setup
	@exec $(BIN)/python -m app

LIVELY := art,photography,music,news,gaming,science
live: setup
	@grep -qs '^HASHTAGS=' .env || export HASHTAGS="$${HASHTAGS:-$(LIVELY)}"; \
		DATA_FOLDER=data/live SOURCES=bluesky exec $(BIN)/python -m app

# As many tests beside each other as there are cores.
test: setup $(VENV)/.test
	@$(BIN)/python -m pytest -n auto --dist worksteal

soak: setup $(VENV)/.test
	@FAULTS=$${FAULTS:-100} SEED=$${SEED:-$$(date +%s)} \
		STRANGE_SECONDS=$${STRANGE_SECONDS:-3600} ATTEMPTS=$${ATTEMPTS:-100000} \
		SLOW_CLIENTS=1 FAILOVERS=$${FAILOVERS:-10} PAGE_SECONDS=$${PAGE_SECONDS:-600} \
		$(BIN)/python -m pytest -s -o faulthandler_timeout=0 \
		tests/test_soak.py tests/test_primaries.py tests/test_hostile_source.py \
		tests/test_hostile_timelines.py tests/test_hostile_visitor.py tests/test_slow_clients.py \
		tests/test_page_soak.py tests/test_page_speed.py

proxies: setup $(VENV)/.test
	@PROXIES=all STREAMS=$${STREAMS:-500} $(BIN)/python -m pytest -s -o faulthandler_timeout=0 \
		tests/test_matrix.py tests/test_rolling.py

# A peer that cannot be installed is named in the table; ours is measured in any case.
bench: setup $(VENV)-bench/.done
	@$(BIN)/python -m bench $(ONLY)

# Fails when something is known, and also when it cannot be asked (.ci/audit.py says which).
audit: $(VENV)-audit/.done $(VENV)/.npm
	@PATH="$$PATH:$(CURDIR)/$(BIN)" $(BIN)/python .ci/audit.py $(VENV)-audit/bin/pip-audit

check: setup $(VENV)/.test
	@$(BIN)/python -m ruff check . && $(BIN)/python -m ruff format --check . && $(BIN)/python -m mypy

setup: $(VENV)/.app static/smoothie.js

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "hashtag pulse needs Python 3.11, 3.12 or 3.13, and none is on PATH." >&2; exit 1; }
	@$(PYTHON) -c '$(FITS)' 2>/dev/null || { echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13." >&2; exit 1; }
	@$(PYTHON) -c 'import venv' 2>/dev/null || { echo "$(PYTHON) lacks the venv module: install it (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); \
		$(PYTHON) -m venv --without-pip $(VENV) && \
		$(PYTHON) -m pip --quiet --python $(BIN)/python $(PINNED) -r requirements-pip.txt; } || { \
		rm -rf $(VENV); echo "$(PYTHON) can make no virtual environment with pip: install both (Debian: apt-get install python3-venv)." >&2; exit 1; }

$(VENV)/.app: requirements.txt | $(BIN)/python
	@echo "installing what the app needs ..."
	@$(PIP) $(PINNED) -r $<
	@touch $@

$(VENV)/.test: requirements-test.txt $(VENV)/.app
	@echo "installing what the tests need ..."
	@$(PIP) $(PINNED) -r $<
	@touch $@

$(VENV)-bench/.done: requirements-bench.txt | $(BIN)/python
	@echo "installing what is measured beside it ..."
	@$(BIN)/python -m venv --without-pip $(VENV)-bench
	@$(PIP) --python $(VENV)-bench/bin/python $(PINNED) -r $< && touch $@ || true

# Apart from the app, which is not to have what an audit needs; without it, npm is asked alone.
$(VENV)-audit/.done: requirements-audit.txt | $(BIN)/python
	@echo "installing pip-audit ..."
	@$(BIN)/python -m venv --without-pip $(VENV)-audit
	@$(PIP) --python $(VENV)-audit/bin/python $(PINNED) -r $< && touch $@ || true

# Without npm on the machine a wheel brings one; it is large, so only then.
$(VENV)/.npm: requirements-npm.txt | $(VENV)/.app
	@command -v npm >/dev/null 2>&1 || { echo "installing npm ..."; $(PIP) $(PINNED) -r $<; }
	@touch $@

node_modules/.package-lock.json: package.json package-lock.json | $(VENV)/.npm
	@echo "installing what the page needs ..."
	@PATH="$$PATH:$(CURDIR)/$(BIN)" npm ci --silent --ignore-scripts
	@touch $@

static/smoothie.js: node_modules/.package-lock.json
	@cp node_modules/smoothie/smoothie.js $@

# Lock files without addresses, for every Python and platform at once; needs uv.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--only-binary :all: --no-emit-index-url --no-emit-find-links --no-header --upgrade
lock:
	$(LOCK) pyproject.toml -o requirements.txt
	$(LOCK) -c requirements.txt --group test -o requirements-test.txt
	$(LOCK) -c requirements-test.txt --group build -o requirements-build.txt
	$(LOCK) --group npm -o requirements-npm.txt
	$(LOCK) --group bench -o requirements-bench.txt
	$(LOCK) --group pip -o requirements-pip.txt
	$(LOCK) --group audit -o requirements-audit.txt
	npm install --package-lock-only --silent

clean:
	rm -rf $(VENV) $(VENV)-bench $(VENV)-audit node_modules static/smoothie.js
