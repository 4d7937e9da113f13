# `make reproduce` runs the default pipeline, `make test` the tests; both make the environment first.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
CORES ?= all
# two processes for the tests; a file's tests stay together, since they share what they make
TWO := --numprocesses 2 --dist loadfile
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: reproduce replication reference-check report test test-science test-slurm test-browser lint benchmark environment

environment: $(VENV)/.complete

# torch first and alone: with it in place at the pinned version nothing else pulls in another build of it
$(VENV)/.complete: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[workflow,central,cifar10,test,dev]'
	touch $@

reproduce: environment
	snakemake --cores $(CORES) figures/default/cells/mlp-gd.png
	snakemake --cores $(CORES)

# the copy of REPLICATION.md that is committed, and the tables of the pages: the reference's
replication: environment
	$(BIN)/python -m rodflow reference-replication --output REPLICATION.md
	$(BIN)/python -m rodflow reference-pages README.md docs/results.md

# two cells of reference/ again; where its images are of CIFAR-10, from the file DATA
reference-check: environment
	snakemake reference-check --cores $(CORES) --configfile config/reference.yaml $(if $(DATA),--config 'data={"file": "$(DATA)"}')

report: environment
	snakemake --cores $(CORES) --report figures/default/report.html

test: environment
	$(BIN)/python -m pytest $(TWO)

# the mathematics alone, without stages, files and Snakemake
test-science: environment
	$(BIN)/python -m pytest tests/science $(TWO)

# needs root, Linux and the packages slurm-wlm and munge
test-slurm: environment
	$(BIN)/python -m pytest -m slurm

# needs chromium
test-browser: environment
	$(BIN)/python -m pytest -m browser

lint: environment
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	snakefmt --check Snakefile workflow
	snakemake --lint

benchmark: environment
	$(BIN)/python -m benchmarks
