# What can be done with the project: `make` alone lists it. Everything happens in .venv, made on first use.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# Without compiled modules each run of the tests reads and rewrites all of them again: 17 of its seconds.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

PYTHON_FOLDERS := $(sort $(dir $(wildcard mss/*.py tests/*.py demo/*.py bench/*.py certs/*.py)))
READY := .venv/.ready
RUN := .venv/bin/python -m
PYTEST := $(RUN) pytest -q
# Work is stolen, not dealt out: with thousands of short tests that takes half the time.
PARALLEL := -n 2 --dist worksteal
PURE := dossier mail model policy
SECONDS := 300

.PHONY: help demo check test soak bench bench-dossier bench-scale mutate fuzz cover compose-check lock format clean
.PHONY: check-style check-types check-floors check-fast check-pure packages

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 23

demo: $(READY) ## Three operators, one letter and its answer; ONCE=1 ends after the proof; MSS_DEMO_CDA=path
	@ONCE='$(ONCE)' MSS_DEMO_CDA='$(MSS_DEMO_CDA)' $(RUN) demo

check: $(READY) ## Format, lint, types, floors and fast tests: under a minute
	@$(MAKE) --jobs=2 --keep-going --output-sync=target check-style check-floors check-types check-fast

ifdef T
test: $(READY) packages ## All set-up, `check`, then everything else; T=tests/imap for a part
	@$(PYTEST) $(PARALLEL) -m "not soak" $(T)
else
test: $(READY) packages
	@$(MAKE) check
	@$(MAKE) check-pure
	@echo "== servers, databases, slow tests, and every property again with more examples"
	@$(PYTEST) $(PARALLEL) -m "(journey or postgres or slow or hypothesis) and not soak" --hypothesis-profile=full
endif

soak: $(READY) ## Long runs: kills, power cuts, fail-over, a real Ceph; T= for a part
	@tools/packages soak
	@MSS_TESTS_ON_DISK=1 $(PYTEST) -s -m soak --timeout=7200 --hypothesis-profile=soak $(T)

mutate: $(READY) ## Mutation testing of the policy; ARGS="mss.policy.access*" for a part
	@tools/mutate $(ARGS)

fuzz: $(READY) ## Fuzzers guided by coverage (SECONDS each), then every property with far more examples; T= for a part
	@$(if $(T),,tools/fuzz $(SECONDS))
	@$(PYTEST) $(PARALLEL) -m "hypothesis and not soak" --timeout=3600 --hypothesis-profile=soak $(T)

bench: $(READY) ## Ratios against named peers, measured in the same run
	@tools/packages bench
	@$(RUN) bench $(ARGS)

bench-dossier: $(READY) ## Reading and filing a document, a listing of ten thousand, in processor time
	@$(RUN) bench dossier rights

bench-scale: $(READY) ## Many boxes, many letters in one, a second node; MSS_BENCH_BOXES=10000,1000000 for sizes
	@$(RUN) bench scale units nodes

cover: $(READY) ## Fast tests with branch coverage, as text
	@$(PYTEST) $(PARALLEL) -m "not journey and not postgres and not soak" --cov=mss --cov-report=term-missing:skip-covered $(T)

compose-check: $(READY) ## Look over docker-compose.yml and what it names, without an engine
	@$(RUN) tests.support.compose

lock: $(READY) ## Resolve the dependencies again into the lock files; ARGS=--upgrade moves all
	@tools/lock $(ARGS)

format: $(READY) ## Put every file into the house's format
	@$(RUN) ruff format
	@$(RUN) ruff check --fix

clean: ## Remove everything that was made here
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov build dist demo-run

$(READY): pyproject.toml requirements-build.lock requirements-dev.lock tools/venv
	@tools/venv
	@touch $@

packages:
	@tools/packages tests

check-style: $(READY)
	@$(RUN) ruff format --check --quiet || { echo "Some files are not in the house's format: type make format"; exit 1; }
	@$(RUN) ruff check --quiet
	@echo "== format and lint: clean"

check-floors: $(READY)
	@.venv/bin/lint-imports --no-cache --no-logo
	@$(RUN) deptry . --no-ansi

check-types: $(READY)
	@$(RUN) mypy $(PYTHON_FOLDERS)

check-fast: $(READY)
	@$(PYTEST) $(PARALLEL) -m "not journey and not postgres and not slow and not soak"

# The pure floors are covered to the last branch by their own tests: what they leave out is not needed, or not proven.
check-pure: $(READY)
	@echo "== every line and branch of the pure floors"
	@$(PYTEST) $(PARALLEL) -m "not slow and not soak" --hypothesis-seed=0 $(PURE:%=tests/%) \
		$(PURE:%=--cov=mss/%) --cov-report=term-missing:skip-covered --cov-fail-under=100
