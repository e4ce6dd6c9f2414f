PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := $(VENV)/.demo
DOCS := $(VENV)/.docs
# In the order of tests/conftest.py: the longest files first, so that no worker ends alone with one.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo check test test-wheel test-old-tflite test-oldest soak bench lint docs clean

demo: $(DEMO)
	$(BIN)/edge-vss demo --out demo

# For every commit: two minutes on two cores.
check: lint
	$(PYTEST) --quiet -m "not slow and not bench"

# For every merge: all of it.
test: export EDGE_VSS_KEEP_BUNDLES := $(CURDIR)/.bundles
test: lint
	rm -rf $(EDGE_VSS_KEEP_BUNDLES)
	$(PYTEST)
	$(MAKE) --jobs 2 test-wheel test-old-tflite
	rm -rf $(EDGE_VSS_KEEP_BUNDLES)

# What an installation can break, and the engine of old boards; both in environments of their own.
test-wheel: $(READY)
	$(BIN)/python tests/installed/wheel.py

test-old-tflite: $(READY)
	$(BIN)/python tests/installed/old_tflite.py

# The runtime's tests with exactly the oldest versions that pyproject.toml admits.
test-oldest: $(READY)
	$(BIN)/python tests/installed/oldest.py

# The long forms: fuzzing with many more examples, streams of many more frames.
soak: $(READY)
	EDGE_VSS_SOAK=1 $(PYTEST) --timeout 3600

bench: $(READY)
	$(BIN)/python -m tests.benchmarks.speed
	$(BIN)/python -m tests.benchmarks.arseg
	$(BIN)/python -m tests.benchmarks.engines
	$(BIN)/python -m tests.benchmarks.memory
	$(BIN)/python -m tests.benchmarks.accuracy
	$(BIN)/python -m tests.benchmarks.heads
	$(BIN)/python -m tests.benchmarks.fast --page bench.md
	$(BIN)/python -m tests.benchmarks.against
	$(BIN)/python -m tests.benchmarks.policies
	$(BIN)/python -m tests.benchmarks.label
	$(BIN)/python -m tests.benchmarks.late

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# One environment for all of them, made with pip alone; the demo needs a third of it. The torch bound in
# pyproject.toml keeps CUDA packages out.
$(DEMO): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install -qq --editable ".[convert]"
	touch $@

$(READY): $(DEMO)
	$(BIN)/pip install -qq --editable ".[dev]"
	touch $@

$(DOCS): $(READY)
	$(BIN)/pip install -qq --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) .bundles .venv-oldest .venv-tflite build dist demo site .pytest_cache .mypy_cache .ruff_cache .hypothesis
