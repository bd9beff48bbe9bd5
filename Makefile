# The house's commands. Needs Python 3.11+, make and (for `make test`) Debian's packages; installs the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTS ?= tests
DEMO_ARGS ?=
# Folders that hold Python now; ruff and mypy refuse a folder without any.
PATHS := $(foreach folder,src tests bench examples scripts,$(if $(shell find $(folder) -name '*.py' -print -quit 2>/dev/null),$(folder)))

SERVICE_ARGS ?=

.PHONY: help demo service test crash schedules fuzz check bench docs lock fmt clean venv

help: ## say what there is
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

demo: $(READY) ## move the short-video service's people home while they use it, erase, certify (five minutes)
	@scripts/debian.sh demo
	$(BIN)/domicile demo $(DEMO_ARGS)

service: $(READY) ## run the short-video service, to watch videos in a browser (SERVICE_ARGS=--help)
	@PYTHONPATH=examples:src $(BIN)/python -m shortvideo $(SERVICE_ARGS)

test: $(READY) ## run every test against real servers (TESTS=path narrows)
	@scripts/debian.sh test
	$(BIN)/python scripts/majors.py .cache/postgres
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(TESTS)

crash: $(READY) ## fail every effect of the engine in every way, for hours (SEED=, SCENARIO=whole|live|objects, MINUTES= each)
	@$(BIN)/python -u -m tests.crash --scenario $(or $(SCENARIO),all) $(if $(SEED),--seed $(SEED)) \
	  $(if $(MINUTES),--minutes $(MINUTES))

schedules: $(READY) ## search live moves for rows that are lost, there again, left or leaked (SEED=, MINUTES=10, FEED=slot|trigger)
	@$(BIN)/python -u -m tests.schedules --minutes $(or $(MINUTES),10) --feed $(or $(FEED),both) $(if $(SEED),--seed $(SEED))

fuzz: $(READY) ## give every reader of evidence hostile input, by seed and by coverage (FUZZ_SECONDS=60 each, SEED=)
	@$(BIN)/python -m tests.fuzz --seconds $(or $(FUZZ_SECONDS),60) $(if $(SEED),--seed $(SEED))

check: $(READY) ## format, lint, types, import contracts
	@$(BIN)/ruff format --check $(PATHS)
	$(BIN)/ruff check $(PATHS)
	$(BIN)/mypy $(PATHS)
	PYTHONPATH=src $(BIN)/lint-imports

bench: $(READY) ## measure copy, verify, closure, sweep, feeds, evidence and receipts against the raw pipe, reladiff, a scan, ripgrep, bare signatures
	@scripts/debian.sh bench
	$(BIN)/python -m bench
	PYTHONPATH=examples $(BIN)/python -m bench.closure
	$(BIN)/python -m bench.sweep
	$(BIN)/python -m bench.feeds
	$(BIN)/python -m bench.evidence
	$(BIN)/python -m bench.receipts

docs: $(READY) ## check the documents: links, anchors, commands
	@$(BIN)/python scripts/docs.py

lock: $(BIN)/uv ## resolve requirements.lock again
	@$(BIN)/uv pip compile pyproject.toml --group dev --group bench --group service --generate-hashes --universal \
	  --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	  --upgrade --quiet --output-file requirements.lock
	if grep -nE '^--|https?://' requirements.lock; then echo 'requirements.lock holds an address' >&2; exit 1; fi

fmt: $(READY) ## format the code, mend what can be mended
	@$(BIN)/ruff format $(PATHS)
	$(BIN)/ruff check --fix-only $(PATHS)

clean: ## remove what make made
	@rm -rf $(VENV) .cache build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

venv: $(READY) ## make the virtual environment only

$(BIN)/uv:
	@PYTHON='$(PYTHON)' scripts/debian.sh venv '$(VENV)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'

$(READY): requirements.lock pyproject.toml | $(BIN)/uv
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@
