# Everything a person does with this project. Needs Python >= 3.11 (with venv), make and a POSIX shell; fetches the rest.
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-print-directory

# The first Python that is new enough; `make PYTHON=/path/to/python3.12 ...` decides otherwise.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# `cuda`: the torch of the lock, for CPU and CUDA. `cpu`: a torch without CUDA, chosen outside the lock (saves about 5 GB).
# The choice is remembered in the environment.
TORCH ?= $(shell cat .venv/torch 2>/dev/null || echo cuda)
# What `cpu` installs: uv takes it from PyTorch's own CPU index. Without that index at hand, name another source and
# version, such as CPU_TORCH="--find-links ~/wheels torch==2.13.0+cpu torchvision==0.28.0+cpu".
CPU_TORCH ?= --torch-backend cpu $(shell sed -n 's/^\(torch\(vision\)\{0,1\}==[0-9.]*\).*/\1/p' requirements/dev.txt)
PYTEST_ARGS ?=
# Processes that share the tests; each uses one thread and starts its own servers. One more than two cores: some tests wait.
TEST_PROCESSES ?= 3
# How often a failed test is tried again: on a loaded machine, a real process may be slower than a test waits for it.
# What passes only then is listed as RERUN at the end; RERUNS=0 fails at once.
RERUNS ?= 1

export UV_SYSTEM_CERTS = 1
export UV_PYTHON_DOWNLOADS = never
# Processes that may not write to the environment, such as a trainer, would otherwise compile torch at each start.
export UV_COMPILE_BYTECODE = 1
unexport PYTHONDONTWRITEBYTECODE
UV := .uv/bin/uv
BIN := .venv/bin
PYTEST = $(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist worksteal --reruns $(RERUNS) -r R
READY := .venv/ready-$(TORCH)

.PHONY: help demo test test-all test-gpu test-faults check lint types contracts doctests lock-check client gain settings reference openapi lint-openapi transcripts docs bench \
	gpu-proof gpu-proof-pieces bench-queue bench-service bench-console console-vendor up down lock format secrets compose-test install clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile

## ---- run

demo: $(READY) ## Train a teacher, distil a student, compare them: through the service, in under five minutes
	$(BIN)/rdrkd demo

up: $(READY) ## Start the embedded service (SQLite, loopback) in the background
	$(BIN)/rdrkd up --detach

down: $(READY) ## Stop the embedded service
	$(BIN)/rdrkd down

bench: $(READY) ## Measure what a step costs: every method, term, level and option, memory and an epoch (BENCH_ARGS=...)
	$(BIN)/rdrkd bench --everything $(BENCH_ARGS)

gpu-proof: $(READY) ## GPU tests, bench and a study in a quarter of an hour; without a GPU in toy size (PROOF_ARGS=...)
	$(BIN)/python tools/gpu_proof/run.py $(PROOF_ARGS)

gpu-proof-pieces: $(READY) ## Prepare wheels and DATASET in pieces for a GPU machine without a network (PIECES_ARGS=...)
	$(BIN)/python tools/gpu_proof/prepare.py $(DATASET) $(PIECES_ARGS)

bench-queue: $(READY) ## Measure what the queue's operations cost with 100 to 100 000 jobs, on SQLite and PostgreSQL
	$(BIN)/python -m tests.benchmarks.queue

bench-service: $(READY) ## Measure what a poll, a 304 and a list cost, beside a bare FastAPI app (wrk, if installed)
	$(BIN)/python -m tests.bench.service docs/results/bench-service.json

bench-console: $(READY) ## Measure what the console's pages cost with 10 000 jobs and a live training
	$(BIN)/python -m tests.benchmarks.console

## ---- test

test: $(READY) ## Run the default tests (neither slow nor GPU)
	$(PYTEST) -m "not slow and not gpu" $(PYTEST_ARGS)

test-all: $(READY) ## Run every test but those that need a GPU
	$(PYTEST) -m "not gpu" $(PYTEST_ARGS)

test-gpu: $(READY) ## Run the tests that need a GPU
	$(BIN)/pytest -m gpu $(PYTEST_ARGS)

test-faults: $(READY) ## Run jobs under injected faults (SEED=1 JOBS=1000 BACKEND=both|embedded|servers|bucket|all)
	$(BIN)/python -m tests.faults --seed $(or $(SEED),1) --jobs $(or $(JOBS),1000) --backend $(or $(BACKEND),both) $(FAULTS_ARGS)

check: lint types contracts doctests lock-check ## Lint, format, types, import contracts, doctests, locks

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

contracts: $(READY)
	$(BIN)/lint-imports

doctests: $(READY)
	$(BIN)/pytest -q --doctest-modules --ignore=api/migrations rdrkd api worker

reference: $(READY) ## Generate docs/reference.md: options of commands, fields of specs, which a test compares
	$(BIN)/python tools/generate_reference.py

openapi: $(READY) ## Write docs/openapi.json anew: the service's interface, which a test compares
	$(BIN)/python -m api openapi > docs/openapi.json

settings: $(READY) ## Generate docs/settings.md from the settings' descriptions, which a test compares
	$(BIN)/python tools/generate_settings.py

gain: $(READY) ## Generate the tables and figures of docs/when-does-it-help.md from docs/results, which a test compares
	$(BIN)/python tools/generate_gain.py

console-vendor: $(READY) ## Fetch the console's vendored scripts anew and compare their hashes (needs npm)
	$(BIN)/python tools/vendor_console.py --fetch

client: $(READY) ## Generate the blocking client from the coroutines, which a test compares
	$(BIN)/python tools/generate_client.py

lint-openapi: ## Hold docs/openapi.json to Redocly's linter and to two generators for TypeScript (needs Node)
	npx --yes @redocly/cli@2 lint docs/openapi.json
	npx --yes openapi-typescript@7 docs/openapi.json --output build/openapi/types.d.ts
	npx --yes --package typescript@5 --package @hey-api/openapi-ts openapi-ts --input ./docs/openapi.json --output build/openapi/client

transcripts: $(READY) ## Run the sessions of docs/transcripts.md and write what they print into it
	$(BIN)/python -m tests.end_to_end.test_transcripts

docs: $(UV) ## Build the documentation's site into build/docs; a dead link or a page that no README names fails
	$(UV) venv --quiet --allow-existing --python .uv/bin/python build/docs-venv
	$(UV) pip sync --quiet --python build/docs-venv/bin/python requirements/docs.txt
	build/docs-venv/bin/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going docs build/docs

format: $(READY) ## Format the code and apply the linter's safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## ---- requirements: hashed locks that name no registry; `service` has no torch, `train` adds it, `dev` adds the tools

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml \
	--extra postgres --extra redis --extra s3 --extra otel
define compile_locks
	$(COMPILE) --output-file $(1)/service.txt $(2) > /dev/null
	$(COMPILE) --output-file $(1)/train.txt --extra train --extra export --constraint requirements/service.txt $(2) > /dev/null
	$(COMPILE) --output-file $(1)/dev.txt --extra train --extra export --group dev --constraint requirements/train.txt $(2) > /dev/null
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements/generator.in \
		--output-file $(1)/generator.txt $(2) > /dev/null
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements/docs.in \
		--output-file $(1)/docs.txt $(2) > /dev/null
endef

lock: $(UV) ## Make the locks follow pyproject.toml (UPGRADE=1: with the newest releases that it allows)
	$(call compile_locks,requirements,$(if $(UPGRADE),--upgrade))

lock-check: $(UV)
	@rm -rf build/locks && mkdir -p build/locks && cp requirements/*.txt build/locks
	$(call compile_locks,build/locks,)
	@for lock in service train dev generator docs; do diff -u requirements/$$lock.txt build/locks/$$lock.txt || \
		{ echo "requirements/$$lock.txt does not follow pyproject.toml: run 'make lock'" >&2; exit 1; }; done

## ---- containers

SECRETS := $(addprefix secrets/,rdrkd_token rdrkd_database_url rdrkd_broker_url rdrkd_encryption_keys \
	postgres_password redis_password)

secrets: $(SECRETS) ## Generate what docker-compose.yml mounts

# The folder keeps other users of the host out; the files are world-readable, for the containers' own users.
secrets/rdrkd_token secrets/postgres_password secrets/redis_password:
	@mkdir -p secrets && chmod 700 secrets
	@od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n' > $@.new && chmod 444 $@.new && mv $@.new $@

secrets/rdrkd_database_url: secrets/postgres_password
	@printf 'postgresql://rdrkd:%s@postgres:5432/rdrkd' "$$(cat $<)" > $@.new && chmod 444 $@.new && mv -f $@.new $@

secrets/rdrkd_broker_url: secrets/redis_password
	@printf 'redis://:%s@redis:6379/0' "$$(cat $<)" > $@.new && chmod 444 $@.new && mv -f $@.new $@

# A Fernet key: 32 bytes in URL-safe base64. It encrypts what the database keeps of webhooks: back it up, apart from there.
secrets/rdrkd_encryption_keys:
	@mkdir -p secrets && chmod 700 secrets
	@head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' > $@.new && chmod 444 $@.new && mv $@.new $@

compose-test: $(READY) secrets ## Build the images and walk submit -> train -> distil -> download on a real Docker engine
	$(BIN)/python tests/compose/walk.py

## ---- environment

install: $(READY) ## Set up .venv (TORCH=cpu: with a torch without CUDA)

$(UV): requirements/uv.txt
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 with venv found: install one, or say PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv --clear .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

# Once, and again when a lock or pyproject.toml changed.
$(READY): $(UV) requirements/dev.txt requirements/without_cuda.awk pyproject.toml
	@echo "installing packages into .venv: gigabytes, so minutes on a slow network (TORCH=cpu: fewer)"
	$(UV) venv --quiet --allow-existing --python .uv/bin/python .venv
	@rm -f .venv/ready-*
ifeq ($(TORCH),cpu)
	@mkdir -p build && awk -f requirements/without_cuda.awk requirements/dev.txt > build/without_cuda.txt
	$(UV) pip sync --quiet build/without_cuda.txt
	$(UV) pip install --quiet $(CPU_TORCH)
else
	$(UV) pip sync --quiet requirements/dev.txt
endif
	$(UV) pip install --quiet --no-deps --editable .
	@echo $(TORCH) > .venv/torch
	@touch $@

clean: ## Remove the environment, caches and everything generated
	rm -rf .venv .uv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis demo-output bench-output
	find rdrkd api worker tests -name __pycache__ -type d -prune -exec rm -rf {} +
