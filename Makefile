# make run | test | check | bench | demo | lock. Every recipe sets up what it needs first.
.DEFAULT_GOAL := help
.PHONY: help run demo test check bench screenshots lock wheels clean
SHELL := /bin/sh

# The first Python of 3.11 to 3.13 that really starts (a pyenv shim may exist and refuse) and can make environments.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 \
	&& command -v $$p && break; done)
RUN := .venv
DEV := .venv-dev
LOCKED_FUNCTIONS := web predict store_result list_results nightly_transform
COMPILE = $(DEV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

help:
	@echo "make run     serve everything locally until Ctrl-C"
	@echo "make demo    the whole job in one command: predict, store, transform, compare"
	@echo "make test    run the tests (installs TensorFlow)"
	@echo "make check   lint, types, import rules, locks"
	@echo "make bench   measure each function beside a hello-world function"
	@echo "make lock    resolve the pinned requirements again"
	@echo "make clean   remove environments, build products and local state"

# $(1) = environment folder, $(2) = locked requirements. A rebuilt environment starts from nothing.
define environment
@if [ -z "$(PYTHON)" ]; then echo "Nightshift needs Python 3.11, 3.12 or 3.13 with the venv module; none was found on PATH." >&2; \
	echo "Name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; fi
@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	echo "Nightshift needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; exit 1; }
@echo "Setting up $(1) with $$($(PYTHON) --version) (once; again only when $(2) changes)"
@rm -rf $(1) && $(PYTHON) -m venv $(1)
@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
@VIRTUAL_ENV=$(1) $(1)/bin/uv pip install --quiet --require-hashes -r $(2)
@VIRTUAL_ENV=$(1) $(1)/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .
@touch $(1)/.ready
endef

$(RUN)/.ready: requirements.txt requirements/uv.txt pyproject.toml
	$(call environment,$(RUN),requirements.txt)

$(DEV)/.ready: requirements/dev.txt requirements/uv.txt pyproject.toml
	$(call environment,$(DEV),requirements/dev.txt)

# An environment that holds what one function declares and nothing else, to show that this is enough.
build/environments/%/.ready: functions/%/requirements.txt $(DEV)/.ready
	@rm -rf build/environments/$* && $(DEV)/bin/uv venv --quiet --python $(DEV)/bin/python build/environments/$*
	@VIRTUAL_ENV=build/environments/$* $(DEV)/bin/uv pip install --quiet --require-hashes -r $<
	@touch $@

run: $(RUN)/.ready
	@exec $(RUN)/bin/python -m functions $(ARGS)

demo: $(RUN)/.ready
	@exec $(RUN)/bin/python -m functions demo $(ARGS)

test: $(DEV)/.ready $(LOCKED_FUNCTIONS:%=build/environments/%/.ready)
	@$(DEV)/bin/python -m pytest $(ARGS)

check: $(DEV)/.ready
	@$(DEV)/bin/ruff format --check .
	@$(DEV)/bin/ruff check .
	@$(DEV)/bin/mypy
	@$(DEV)/bin/python -m pytest -q -n 0 tests/repo/test_architecture.py
	@$(MAKE) --no-print-directory wheels

# Every lock must install on the newer Pythons from binary wheels alone; nothing is installed.
wheels: $(DEV)/.ready
	@for python in 3.12 3.13; do for lock in requirements.txt requirements/dev.txt \
		$(LOCKED_FUNCTIONS:%=functions/%/requirements.txt) functions/predict/requirements-tensorflow.txt; do \
		$(DEV)/bin/uv pip install --quiet --dry-run --target build/wheels-$$python --python-version $$python \
			--only-binary :all: --require-hashes -r $$lock || exit 1; done; done
	@echo "Locks resolve from wheels on Python 3.12 and 3.13"

bench: $(DEV)/.ready
	@exec $(DEV)/bin/python -m benchmarks $(ARGS)

screenshots: $(DEV)/.ready
	@exec $(DEV)/bin/python -m tests.browser.screenshots $(ARGS)

# The largest set first; every smaller lock is held to it, so that no two environments disagree on a version.
lock:
	@test -x $(DEV)/bin/uv || $(MAKE) --no-print-directory $(DEV)/.ready
	@$(COMPILE) requirements/uv.in -o requirements/uv.txt
	@$(COMPILE) requirements/dev.in -o requirements/dev.txt
	@$(COMPILE) benchmarks/airflow/requirements.in -o benchmarks/airflow/requirements.txt
	@$(COMPILE) requirements/run.in -c requirements/dev.txt -o requirements.txt
	@for f in $(LOCKED_FUNCTIONS); do \
		$(COMPILE) functions/$$f/requirements.in -c requirements/dev.txt -o functions/$$f/requirements.txt || exit 1; done
	@$(COMPILE) functions/predict/requirements-tensorflow.in -c requirements/dev.txt \
		-o functions/predict/requirements-tensorflow.txt

clean:
	rm -rf $(RUN) $(DEV) .local build .mypy_cache .ruff_cache .pytest_cache
