# The commands of this project. Needs Python (3.11, 3.12 or 3.13), make and git; the rest goes into .venv.

# The first of these that fits; `make PYTHON=/path/to/python …` chooses another one for a new .venv.
PYTHON = $(shell for one in python3 python3.13 python3.12 python3.11; do \
	$$one -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$one && break; \
	done)
UV_VERSION = 0.13.8
BIN = .venv/bin
# The settings of whoever runs this (another index, another Python) must not change what is installed.
UV = UV_NO_CONFIG=1 VIRTUAL_ENV=.venv $(BIN)/python -m uv --quiet
# Most tests wait for servers, so there may be more of them at a time than cores.
PYTEST = $(BIN)/python -m pytest --numprocesses $(or $(JOBS),3)
RESOLVE = pip compile --universal --python-version 3.11 --no-annotate --no-header
LOCK = $(RESOLVE) pyproject.toml
# Where `make wheel` puts what it builds.
DIST = dist

# Brings the deployment up. Docker only tells the exit status of what failed at the start; its own last lines tell why.
COMPOSE_UP = docker compose up --detach --wait
EXPLAINED = || { status=$$?; echo "the deployment did not start; the last lines of init:" >&2; \
	docker compose logs --no-log-prefix --tail 20 init >&2; \
	echo "\`make logs\` shows the other services; after a change of .env, \`make up\` starts it again" >&2; exit $$status; }

.DEFAULT_GOAL = help
.PHONY: help demo wheel test check audit bench web faults chaos clean lock env up down logs demo-compose test-compose faults-compose

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

demo: .venv/.demo ## run the whole stack and 336,776 flights through it; ONCE=1 ends after the answer
	@$(BIN)/manifold demo $(if $(ONCE),--once)

wheel: .venv/.uv ## build the package, as a wheel, into dist/
	@$(UV) pip install --requirement requirements-build.txt
	@$(UV) build --wheel --no-build-isolation --out-dir $(DIST)
	@echo "built $(DIST)/$$(cd $(DIST) && ls -t airflow_manifold-*.whl | head -n 1)"

test: .venv/.dev ## run all tests, JOBS=3 at a time; ARGS="-k name" chooses
	@$(PYTEST) $(ARGS)

check: .venv/.dev ## what CI runs: ruff, ruff format, mypy --strict, bandit, tests
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive include dags plugins
	@$(PYTEST)

audit: .venv/.dev ## look the pinned packages up among known vulnerabilities; needs a network
	@$(BIN)/python -m tests.security.audit

bench: .venv/.dev ## measure the speed against peers
	@$(BIN)/python -m benchmarks $(ARGS)

env: ## write .env, with fresh secrets, for docker compose; what it says already stays
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11, 3.12 or 3.13 is needed, and none is on the PATH" >&2; exit 1; }
	@$(PYTHON) include/manifold/deploy/env.py

up: ## build the image and start the deployment of docker-compose.yml; WORKERS=3 sets the number of chunk workers
	@$(COMPOSE_UP) $(if $(WORKERS),--scale manifold-worker=$(WORKERS)) $(EXPLAINED)

down: ## stop the deployment; its volumes stay
	@docker compose down

logs: ## follow what the deployment's services say; ARGS="worker" chooses
	@docker compose logs --follow --tail 50 $(ARGS)

demo-compose: ## send the 336,776 flights through the deployment, on three chunk workers
	@$(COMPOSE_UP) --scale manifold-worker=$(or $(WORKERS),3) $(EXPLAINED)
	@docker compose run --rm --no-deps demo

test-compose: .venv/.dev ## bring the deployment up under a name of its own, and test it; needs Docker
	@$(BIN)/python -m pytest tests/compose -m "compose and not slow" $(ARGS)

faults-compose: .venv/.dev ## break the deployment, one thing at a time (ten minutes); needs Docker
	@$(BIN)/python -m pytest tests/compose -m slow $(ARGS)

faults: .venv/.dev ## break everything, one thing at a time, and measure the recovery (forty minutes); best as root
	@$(BIN)/python -m tests.faults $(ARGS)

chaos: .venv/.dev ## break everything at random; SEED=1 draws it, MINUTES=10 is how long
	@$(BIN)/python -m tests.faults.chaos --seed $(or $(SEED),1) --minutes $(or $(MINUTES),10)

web: ## build the page's bundle from its source; needs Node.js 20 or newer
	@cd include/manifold/web/ui && npm ci --ignore-scripts --no-audit --no-fund && npm run build

clean: ## end what runs, and delete .venv, the demo's state and caches
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m manifold.demo --clean; fi
	rm -rf .venv .manifold .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: .venv/.uv ## pin anew all that pyproject.toml asks for
	@$(UV) $(LOCK) --upgrade --extra demo --extra deploy --extra parquet --extra test --output-file requirements.txt
	@$(UV) $(LOCK) --upgrade --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	@echo 'hatchling>=1.27' | $(UV) $(RESOLVE) --constraint requirements-dev.txt - --output-file requirements-build.txt

.venv/.uv:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11, 3.12 or 3.13 is needed, and none is on the PATH" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "on Debian and Ubuntu, install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

# Compiled at once, in parallel, so that the first start is no slower than the second.
.venv/.demo: .venv/.uv requirements.txt pyproject.toml
	@echo "installing what the demo needs into .venv"
	@$(UV) pip install --compile-bytecode --requirement requirements.txt
	@$(UV) pip install --no-deps --editable .
	@touch $@

.venv/.dev: .venv/.demo requirements-dev.txt
	@echo "installing what the tests need into .venv"
	@$(UV) pip install --compile-bytecode --requirement requirements-dev.txt
	@touch $@
