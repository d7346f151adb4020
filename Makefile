# Every target sets up .venv by itself. PYTHON may name another interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
QUICK := evaluation interop models objectives runtime training views
CACHES := .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis .coverage build dist site
DATA := $(patsubst ~/%,$(HOME)/%,$(if $(LAFS_DATA),$(LAFS_DATA),data))

export NO_MKDOCS_2_WARNING := 1

.PHONY: setup demo lowest check test test-slow chaos coverage lint types format docs bench bench-gpu profile clean clean-data

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: setup
	@echo "The whole takes three to five minutes on two cores; every training says how long it has to go."
	$(BIN)/kedro run

# One thread in each process: as many processes as cores then disturb each other least.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadgroup --no-loadscope-reorder

# The quick round: no run of a pipeline, no server, no browser.
check: lint types
	$(PYTEST) -q -m 'not slow' $(QUICK:%=tests/%)

test: lint types
	$(PYTEST) -m 'not slow'

# The quick tests, a step of every stage among them, on the lowest versions that pyproject.toml allows.
lowest:
	$(PYTHON) -m venv .venv-lowest
	$(PYTHON) .ci/lowest.py > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --constraint .venv-lowest/lowest.txt --editable '.[onnx]' pytest pytest-timeout pytest-xdist hypothesis scikit-image
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -q -m 'not slow' $(QUICK:%=tests/%)

test-slow: setup
	$(BIN)/python -m pytest -m slow

chaos: setup
	$(BIN)/python -m tests.chaos

coverage: setup
	$(BIN)/python -m pytest -q -m 'not slow' --cov=lafs_pipeline --cov-report=term:skip-covered $(QUICK:%=tests/%)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup
	$(BIN)/python -m docs.reference docs/pipelines
	$(BIN)/mkdocs build --quiet --strict

bench: setup
	$(BIN)/python -m benchmarks.views
	$(BIN)/python -m benchmarks.loading
	$(BIN)/python -m benchmarks.cataloging
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.pretrain_step
	$(BIN)/python -m benchmarks.checkpoint
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.small_step
	$(BIN)/python -m benchmarks.contention
	$(BIN)/python -m benchmarks.rehearsal

bench-gpu: setup
	$(BIN)/python -m benchmarks.gpu --json

profile: setup
	$(BIN)/python -m benchmarks.profile_step

# Caches and builds: nothing of a user's, no result, no model.
clean:
	rm -rf $(CACHES)
	find $(wildcard src tests benchmarks docs notebooks) -name __pycache__ -type d -prune -exec rm -rf {} +

# Results, models and checkpoints in data/ (or LAFS_DATA), after a look at them and a yes. Tracking (mlflow.db) stays.
clean-data:
	@found=$$(find "$(DATA)" -mindepth 2 -maxdepth 2 ! -name .gitkeep 2>/dev/null | sort); \
	if [ -z "$$found" ]; then echo "Nothing to delete in $(DATA)."; exit 0; fi; \
	echo "$$found" | tr '\n' '\0' | du --files0-from=- -shc; \
	printf 'Delete all of this? Type yes: '; read -r answer; \
	if [ "$$answer" != yes ]; then echo 'Nothing is deleted.'; exit 1; fi; \
	echo "$$found" | tr '\n' '\0' | xargs -0 rm -rf
