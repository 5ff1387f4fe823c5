# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# `make study` takes longer: it trains and evaluates ten tiny models with five seeds each.
.PHONY: demo study test lint types docs bench vulnerabilities clean

demo: .venv/demo.stamp          ## the whole system, offline, with the embedded simulated model
	PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/demo.sh

study: .venv/study.stamp        ## a whole experiment, offline: data, audit, ten tiny models × five seeds, their evals
	test -d demo/study || { $(BIN)/habitus init demo/study && cp recipes/quickstart/config.yaml recipes/quickstart/traits.md demo/study/; }
	$(BIN)/habitus run demo/study

test: .venv/test.stamp          ## the whole test suite
	$(BIN)/python -m pytest --numprocesses 2

lint: .venv/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/test.stamp
	$(BIN)/ty check --python .venv src

docs: .venv/test.stamp          ## rewrite the generated pages, and build all of them into build/site
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/pages.py

bench: .venv/test.stamp         ## every benchmark, each with its bar
	$(BIN)/python benchmarks/calls.py --check
	$(BIN)/python benchmarks/chain.py --check
	$(BIN)/python benchmarks/recipes.py --check
	$(BIN)/python benchmarks/dedup.py --check
	$(BIN)/python benchmarks/audit.py --check
	$(BIN)/python benchmarks/audit_truth.py --check
	$(BIN)/python benchmarks/evals.py --check
	$(BIN)/python benchmarks/writers.py --check
	$(BIN)/python benchmarks/train.py --check
	$(BIN)/python benchmarks/toy_study.py --check
	$(BIN)/python benchmarks/hostile.py --check
	$(BIN)/python benchmarks/core.py --check
	$(BIN)/python benchmarks/scale.py --check

.venv/demo.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable ".[audit]"
	touch $@

.venv/study.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable ".[audit,train,evaluate]"
	touch $@

.venv/test.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable ".[dev]"
	touch $@

vulnerabilities:                ## known holes in the pinned dependencies; needs the network, and fails where it can't ask
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) pip-audit && $(BIN)/python -m pip_audit --strict --no-deps --disable-pip --requirement constraints.txt

clean:
	rm -rf .venv demo
