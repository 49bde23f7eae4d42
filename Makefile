# The ways in. Everything here also runs by hand; `make` only puts the steps in order.
.DEFAULT_GOAL := help
.PHONY: help setup machine test-tools demo test test-long check bench lock

# Half of the time a test waits, for a deadline or for an engine.
TESTS_SIDE_BY_SIDE = .venv/bin/python -m pytest tests -m "not alone" -n $$((2 * $$(nproc)))
TESTS_ALONE = .venv/bin/python -m pytest tests -m alone

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## the environment only: .venv from requirements.lock (PYTHON=... picks the interpreter)
	@scripts/setup

machine: setup
	@scripts/docker_engine
	@scripts/base_image

test-tools:
	@scripts/test_tools

demo: machine ## set up this machine, run nine small tasks with two scripted models, print the score
	@.venv/bin/evals demo

test: machine test-tools ## set up this machine, then every test at the smallest size that can break its promise
	@$(TESTS_SIDE_BY_SIDE)
	@$(TESTS_ALONE)

test-long: machine test-tools ## the same tests at full size, and on a real llama-server (built once, some minutes)
	@scripts/llama_server >/dev/null
	@UNBROKEN_LONG=1 $(TESTS_SIDE_BY_SIDE)
	@UNBROKEN_LONG=1 $(TESTS_ALONE)

check: setup ## lint, format, types, import layers
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/pyright
	@.venv/bin/lint-imports

bench: machine ## the benchmarks, as a table
	@.venv/bin/python -m benchmarks all

lock: setup ## resolve requirements.lock anew from pyproject.toml
	@scripts/lock
