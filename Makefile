# `make demo` and `make test` set up what they need; everything lives in .venv and .dagster.
PYTHON ?= python3
PORT ?= 3000
export DAGSTER_HOME ?= $(CURDIR)/.dagster
export VIRTUAL_ENV := $(CURDIR)/.venv
export PATH := $(VIRTUAL_ENV)/bin:$(PATH)

.PHONY: help setup setup-dev setup-tests setup-quick fmt check test test-all demo dev audit bench soak pictures
help:
	@echo "make demo      set up, then run flight_delays on the real year: sources to evaluated model"
	@echo "make test      set up, then run the quick tier of the tests"
	@echo "make test-all  the same, then the tests of the full tier"
	@echo "make dev       Dagster's UI on http://127.0.0.1:$(PORT), with its daemon and reconciler"
	@echo "make check     formatting, linting, types, layers, definitions"
	@echo "make fmt       format the code"
	@echo "make audit     look every installed distribution up in a list of known vulnerabilities"
	@echo "make bench     measure; what came out stands in benchmarks/README.md"
	@echo "make soak      every test, with every count in full: hours"
	@echo "make pictures  take the README's screenshots again"

# What `make demo` and `make dev` need; the tests and checks need more.
setup:
	@sh deploy/local/setup $(PYTHON) examples,report
	@mkdir -p "$(DAGSTER_HOME)"
	@test -e "$(DAGSTER_HOME)/dagster.yaml" || cp ml_platform/resources/dagster.yaml "$(DAGSTER_HOME)/dagster.yaml"

# What the tests, the checks and the benchmarks need as well.
setup-dev:
	@sh deploy/local/setup $(PYTHON) dev
	@mkdir -p "$(DAGSTER_HOME)"

# What the tests need from the system: the quick ones Chromium, to look at pages, and a PostgreSQL server.
setup-quick: setup-dev
	@sh deploy/local/setup-tests quick

setup-tests: setup-dev
	@sh deploy/local/setup-tests full

fmt: setup-dev
	ruff format .
	ruff check --fix .

check: setup-dev
	ruff format --check .
	ruff check .
	mypy
	lint-imports --no-logo
	dg check defs
	DAGSTER_HOME=ml_platform/resources ml-platform routes

# Two workers on two cores: each owns one, and more threads than cores wait for each other (five times as long).
PYTEST = OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} pytest -n 2 --dist loadfile --no-loadscope-reorder

test: setup-quick
	$(PYTEST)

test-all: test setup-tests
	$(PYTEST) -m "full and not soak"

demo: setup
	@ml-platform run flight_delays

dev: setup
	@ml-platform launches reconcile --every 5 & trap "kill $$!" EXIT; \
	dagster dev --workspace workspace.yaml --host 127.0.0.1 --port $(PORT)

audit: setup-dev
	@deploy/audit

bench: setup-dev
	python benchmarks/demo_overhead.py
	python benchmarks/start_up.py
	python benchmarks/loop.py
	python benchmarks/reuse.py
	python benchmarks/battery.py
	python benchmarks/training_throughput.py
	python benchmarks/launchers.py

soak: test-all
	pytest -m soak -n 0 -s
	python docs/play_faults.py

pictures: setup-tests
	python docs/take_pictures.py
