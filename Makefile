# Each target sets up .venv by itself, so that every one of them works in a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready
BENCHMARKS := $(patsubst tests/benchmarks/bench_%.py,bench-%,$(wildcard tests/benchmarks/bench_*.py))

# Where bench-photos finds photographs with human masks.
PHOTOS ?= ../shared/data
export PHOTOS

# The promptable segmenter of bench-opinions and bench-real: a folder or Hub id.
export SEGMENTER
# Of its part presence the image-text model, and a dataset that was generated already.
export IMAGE_TEXT
export GENERATED

MINIMUM := .venv-min
READERS := .venv-readers
# Two processes, each with whole files: under ten minutes on two cores.
DEFAULT_TESTS := --numprocesses 2 --dist loadfile --ignore tests/apps --ignore tests/cluster --ignore tests/readers

.PHONY: help setup demo test test-min test-readers test-apps test-cluster lint types docs constraints release-check clean $(BENCHMARKS)

help:  ## list the targets
	@grep -hE '^[^ ]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/; s/^.(BENCHMARKS)/bench-NAME/' | expand -t 12

# The package and what it needs to run, with pip's own progress: the first minutes of a newcomer.
$(INSTALLED): pyproject.toml constraints.txt
	@sh tools/check_setup.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable .
	touch $@

$(READY): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV)/.fiftyone: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,fiftyone]'
	touch $@

$(VENV)/.ray: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,ray]'
	touch $@

$(VENV)/.docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	touch $@

setup: $(READY)  ## create .venv with everything the project needs

demo: $(INSTALLED)  ## generate 20 labelled images and a picture of them in out/demo; export them to COCO and VOC
	rm -rf out/demo out/demo-coco out/demo-voc
	$(BIN)/python examples/quickstart.py --output out/demo

test: $(READY)  ## run the default test suite
	$(BIN)/python -m pytest --durations=10 $(DEFAULT_TESTS)

$(MINIMUM)/.ready: pyproject.toml constraints-min.txt
	@sh tools/check_setup.sh $(PYTHON)
	$(PYTHON) -m venv $(MINIMUM)
	$(MINIMUM)/bin/python -m pip install --quiet --constraint constraints-min.txt --editable '.[dev]'
	touch $@

test-min: $(MINIMUM)/.ready  ## run the default test suite with the lowest versions allowed, in an environment of its own
	$(MINIMUM)/bin/python -m pytest $(DEFAULT_TESTS)

$(READERS)/.ready: pyproject.toml constraints.txt requirements-readers.txt
	@sh tools/check_setup.sh $(PYTHON)
	$(PYTHON) -m venv $(READERS)
	$(READERS)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(READERS)/bin/python -m pip install --quiet --no-deps --requirement requirements-readers.txt --editable .
	touch $@

test-readers: $(READERS)/.ready  ## have foreign programs read every export and train on it, in an environment of their own (WRITE=1: the table in docs)
	$(if $(WRITE),DIFFUMASK_WRITE_TABLE=1) $(READERS)/bin/python -m pytest tests/readers

test-apps: $(VENV)/.fiftyone  ## test FiftyOne and the review page in a browser (needs chromium, chromium-driver)
	$(BIN)/python -m pytest tests/apps

test-cluster: $(VENV)/.ray  ## test on a Ray cluster of two nodes on this machine, one of them killed
	$(BIN)/python -m pytest tests/cluster

bench-review: $(VENV)/.fiftyone

bench-scale: $(VENV)/.ray

lint: $(READY)  ## ruff check and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## mypy strict
	$(BIN)/mypy

docs: $(VENV)/.docs  ## build the site of the documentation in build/site (then needs no network)
	$(BIN)/mkdocs build --strict --quiet

constraints: $(READY)  ## write the newest versions that fit together to constraints.txt; run the suite before you commit them
	$(BIN)/python tools/refresh_constraints.py

release-check: $(READY)  ## build wheel and sdist, install each in a clean environment and run the quickstart
	sh tools/release_check.sh $(PYTHON) $(BIN)/python

$(BENCHMARKS): bench-%: $(READY)  ## run one benchmark, e.g. make bench-spine (QUICK=1: a small sample; PARTS=a,b: some of it)
	$(BIN)/python -m tests.benchmarks.bench_$* $(if $(QUICK),--quick) $(if $(PARTS),--parts $(PARTS))

clean:  ## remove everything that can be made again
	rm -rf $(VENV) $(MINIMUM) $(READERS) out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
