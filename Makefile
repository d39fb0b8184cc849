# Every target makes its own .venv; override PYTHON to choose the interpreter, ARGS to pass options.
PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev
BENCH_STAMP := $(VENV)/.installed-bench

.PHONY: quickstart test test-slow lint check bench-training bench-cuda bench-laws bench-prepare bench-classify bench-decisions clean

quickstart: $(RUN_STAMP)  ## the whole loop, with a proof, on text that every machine has
	$(BIN)/mixlab quickstart $(ARGS)

test: $(DEV_STAMP)  ## the default suite, a test on each core; ARGS="-n 0" for one after another
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal $(ARGS)

test-slow: $(DEV_STAMP)  ## minutes rather than seconds
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test  ## what CI runs

bench-training: $(BENCH_STAMP)  ## steps and whole processes beside the loops that people write; an hour
	$(BIN)/python benchmarks/training.py steps $(ARGS)
	$(BIN)/python benchmarks/training.py runs $(ARGS)
	$(BIN)/python benchmarks/training.py curves $(ARGS)

bench-cuda: $(DEV_STAMP)  ## stacks on a GPU, eager and compiled; five minutes
	$(BIN)/python benchmarks/training.py cuda $(ARGS)

bench-laws: $(DEV_STAMP)  ## laws on published runs they have not seen: make bench-laws TABLES=folder
	$(BIN)/python benchmarks/transfer.py $(TABLES) $(ARGS)
	$(BIN)/python benchmarks/two_step.py $(TABLES)
	$(BIN)/python benchmarks/laws.py $(TABLES)/chinchilla_245.csv --where "epoch_outlier == 0" \
		--joint $(TABLES)/mixinglaws_5mix.csv --target loss.avg_pile

bench-prepare: $(DEV_STAMP)  ## cleaning beside a plain loop: make bench-prepare CORPORA=folder ARGS="--benchmarks folder"
	$(BIN)/python benchmarks/prepare.py $(CORPORA) $(ARGS)

bench-classify: $(DEV_STAMP)  ## topics beside scikit-learn's tuned classifier: make bench-classify CORPORA=folder
	$(BIN)/python benchmarks/classify.py $(CORPORA) $(ARGS)

bench-decisions: $(DEV_STAMP)  ## regret per proxy FLOP on simulated truths; ARGS="--seeds 20 --all" for the whole
	$(BIN)/python -m benchmarks.decisions $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(DEV_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@ $(RUN_STAMP)

$(BENCH_STAMP): $(DEV_STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,bench]"
	touch $@
