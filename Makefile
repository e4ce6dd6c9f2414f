PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := $(VENV)/.demo

.PHONY: demo test bench lint clean

demo: $(DEMO)
	$(BIN)/edge-vss demo --out demo

test: $(READY) lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile
	$(BIN)/python tests/installed/wheel.py
	$(BIN)/python tests/installed/old_tflite.py

bench: $(READY)
	$(BIN)/python -m tests.benchmarks.speed
	$(BIN)/python -m tests.benchmarks.arseg
	$(BIN)/python -m tests.benchmarks.engines
	$(BIN)/python -m tests.benchmarks.memory
	$(BIN)/python -m tests.benchmarks.accuracy

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

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

clean:
	rm -rf $(VENV) .venv-tflite build dist demo .pytest_cache .mypy_cache .ruff_cache
