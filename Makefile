# Penstock, one command each. Every target makes the .venv it needs: Python 3.11+ and make are enough.
# Pass more arguments with ARGS, as in `make test ARGS=tests/sim`; choose an interpreter with PYTHON.

PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
PIP = -m pip --disable-pip-version-check --quiet
RUN = .venv/bin/python

.PHONY: help demo test check fix prove prove-bulk recorded sdk-instructor bench bench-agent bench-parsing bench-bulk bench-routing bench-sre bench-ledger docs clean

# Hundreds of tests start processes: each would compile all that it imports where no bytecode may be kept.
test docs prove: export PYTHONDONTWRITEBYTECODE =

help: ## print these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

demo: .venv/.base ## 600 incidents through the simulator: limits, faults, budget and bill (ARGS=--real: the provider)
	@.venv/bin/penstock demo $(ARGS)

test: .venv/.dev ## the tests, without the slow ones, on all cores (ARGS='-m slow': those)
	@$(RUN) -m pytest -q --numprocesses=logical --maxprocesses=4 --dist=worksteal $(ARGS)

check: .venv/.dev ## lint, format, types, import contracts, house rules
	@.venv/bin/ruff check --quiet
	@.venv/bin/ruff format --check --quiet || { echo "Not formatted. Run: make fix"; .venv/bin/ruff format --check; exit 1; }
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo
	@$(RUN) -m pytest -q tests/test_tidy.py tests/test_exports.py

fix: .venv/.dev ## format, and mend what ruff can mend
	@.venv/bin/ruff check --fix --quiet || true
	@.venv/bin/ruff format

prove: .venv/.dev ## the guarantees, the simulated world (HOURS=50) and its mutants, with figures, to build/prove.json
	@$(RUN) tools/prove.py $(if $(HOURS),--hours=$(HOURS)) $(ARGS)

prove-bulk: .venv/.dev ## 100 kills and a million rows, to build/prove-bulk.json (ARGS='--rows 100000 --kills 20')
	@$(RUN) tools/prove_bulk.py $(ARGS)

recorded: .venv/.dev ## recorded real traffic through both drivers, to build/recorded.json
	@$(RUN) tools/recorded.py $(ARGS)

bench: .venv/.dev .venv-bench/.bench ## cost and conduct against peers, to build/bench.json (ARGS=--quick, ARGS=--peers)
	@$(RUN) -m bench.run $(ARGS)

bench-agent: .venv/.dev ## what a step of an agent costs beside its call, to build/bench-agent.json
	@$(RUN) -m bench.agent

bench-parsing: .venv/.dev .venv-bench-parsing/.bench ## the parser beside its peers, to build/bench-parsing.json
	@$(RUN) -m bench.parsing.run $(ARGS)

bench-bulk: .venv/.dev .venv-bench-bulk/.bench .venv-bench-bulk-curator/.bench ## bulk runners at one limited provider, to build/bench-bulk.json (ARGS=--quick)
	@$(RUN) -m bench.bulk.run $(ARGS)

bench-routing: .venv/.dev ## the router on published outcomes, where they are present, to build/bench-routing.json
	@$(RUN) -m bench.routing.run $(ARGS)

bench-sre: .venv/.dev ## what `penstock classify` costs before it sends, and a gigabyte through analyze (ARGS='--megabytes 100')
	@$(RUN) -m bench.sre $(ARGS)

bench-ledger: .venv/.dev ## what the ledger costs a call, and stats over 10 M rows, to build/bench-ledger.json (ARGS=--quick)
	@$(RUN) -m bench.ledger.run $(ARGS)

docs: .venv/.dev ## run every code block of the README and the docs
	@$(RUN) -m pytest -q -m 'slow or not slow' tests/docs $(ARGS)

sdk-instructor: .venv-instructor/.dev ## instructor behind the gate, in an environment of its own: it pins an older SDK
	@.venv-instructor/bin/python -m pytest -q tests/sdk/test_instructor.py $(ARGS)

clean: ## remove everything that make made
	rm -rf .venv .venv-instructor .venv-bench .venv-bench-parsing .venv-bench-bulk .venv-bench-bulk-curator build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

%/bin/pip:
	@test -n '$(PYTHON)' || { \
		echo "Penstock needs Python 3.11 or newer with its venv module, and found none. Install it"; \
		echo "(Debian, Ubuntu: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python3.11"; \
		exit 1; } >&2
	@$(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "$(PYTHON) is not Python 3.11 or newer, or lacks its venv module (Debian, Ubuntu: apt install python3-venv)."; \
		exit 1; } >&2
	@echo "Making $* with $(PYTHON)" >&2
	@$(PYTHON) -m venv $*

.venv/.base: pyproject.toml | .venv/bin/pip
	@$(RUN) $(PIP) install -e .
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/pip
	@$(RUN) $(PIP) install -e '.[dev]'
	@touch .venv/.base $@

.venv-instructor/.dev: pyproject.toml | .venv-instructor/bin/pip
	@.venv-instructor/bin/python $(PIP) install -e '.[dashboard,httpx2]' 'instructor>=1.17' 'pytest>=9.2'
	@touch $@

# The peers pin older official SDKs, so they live apart; the bench says which of them it could not measure.
.venv-bench/.bench: pyproject.toml | .venv-bench/bin/pip
	@.venv-bench/bin/python $(PIP) install -e '.[bench]' || { \
		echo "Not all peers can be installed together; trying one after the other" >&2; \
		.venv-bench/bin/python $(PIP) install -e .; \
		.venv-bench/bin/python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
			print(*project['optional-dependencies']['bench'], sep='\n')" | \
			xargs -n 1 .venv-bench/bin/python $(PIP) install || true; }
	@touch $@

.venv-bench-parsing/.bench: pyproject.toml | .venv-bench-parsing/bin/pip
	@.venv-bench-parsing/bin/python $(PIP) install 'json-repair[schema]>=0.64' 'instructor>=1.17' 'langchain-core>=1.7' \
		'partial-json-parser>=0.2.1' 'jiter>=0.14' baml-py || echo "the other parsers could not be installed" >&2
	@touch $@

# curator and lm-deluge ask for versions that exclude each other.
.venv-bench-bulk-curator/.bench: | .venv-bench-bulk-curator/bin/pip
	@.venv-bench-bulk-curator/bin/python $(PIP) install 'bespokelabs-curator>=0.1.31' || echo "curator could not be installed" >&2
	@touch $@

.venv-bench-bulk/.bench: | .venv-bench-bulk/bin/pip
	@for peer in 'async-batch-llm[openai]>=0.28' 'flexllm>=0.17.10' 'lm-deluge>=0.0.168' 'langchain-openai>=1.7'; do \
		.venv-bench-bulk/bin/python $(PIP) install "$$peer" || echo "$$peer could not be installed" >&2; done
	@touch $@
