# Every target sets up .venv by itself. PYTHON may name another interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test test-slow chaos lint format docs bench bench-gpu profile clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: setup
	$(BIN)/kedro run

# One thread in each process: as many processes as cores then disturb each other least.
test: setup lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' -n logical --dist loadgroup --no-loadscope-reorder

test-slow: setup
	$(BIN)/python -m pytest -m slow

chaos: setup
	$(BIN)/python -m tests.chaos

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup
	$(BIN)/python -m lafs_pipeline.pipelines.reference docs/pipelines

bench: setup
	$(BIN)/python -m benchmarks.views
	$(BIN)/python -m benchmarks.loading
	$(BIN)/python -m benchmarks.cataloging
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.pretrain_step
	$(BIN)/python -m benchmarks.checkpoint
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.startup

bench-gpu: setup
	$(BIN)/python -m benchmarks.gpu --json

profile: setup
	$(BIN)/python -m benchmarks.profile_step

clean:
	git clean -fdX -- data src tests
