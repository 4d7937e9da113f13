# `make` says what there is to make, from the words behind ## of each target. Every target makes the environment first.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
CORES ?= all
# Two processes for the tests; a file's tests stay together, since they share what they make. Files in their order: it has
# the longest, which start Snakemake, before the short ones.
TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help environment reproduce docs docs-numbers replication reference-check report test test-long test-science test-slurm \
	test-browser test-gpu lint benchmark

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

environment: $(VENV)/.complete ## .venv with the pinned packages

# torch first and alone: with it in place at the pinned version nothing else pulls in another build of it
$(VENV)/.complete: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[workflow,central,cifar10,test,dev,docs]'
	touch $@

reproduce: environment ## the default run: about 20 minutes on two cores; first its first figure
	snakemake --cores $(CORES) figures/default/cells/mlp-rmsprop.png
	snakemake --cores $(CORES)

# EXECUTE_NOTEBOOKS=false builds without running them
docs: environment ## the site, in site/: about a minute
	NO_MKDOCS_2_WARNING=1 mkdocs build

# REPLICATION.md, the tables and the pictures of the pages: all from reference/, but for the valley and README's example, which
# are run anew
docs-numbers: environment ## every number and picture of README and docs again, from reference/
	$(BIN)/python -m rodflow reference-replication --output REPLICATION.md
	$(BIN)/python -m rodflow reference-pages README.md config/README.md $(wildcard docs/*.md)
	$(BIN)/python -m rodflow reference-pictures --output docs
	cd docs && ../$(BIN)/python ../examples/first.py > first.txt

replication: docs-numbers ## the same

# two cells of reference/ again; where its images are of CIFAR-10, from the file DATA
reference-check: environment ## two cells of reference/ again, compared with what is kept
	snakemake reference-check --cores $(CORES) --configfile config/reference.yaml $(if $(DATA),--config 'data={"file": "$(DATA)"}')

report: environment ## Snakemake's report of the default run
	snakemake --cores $(CORES) --report figures/default/report.html

test: environment ## all tests but the long ones
	$(BIN)/python -m pytest $(TWO)

# about seven minutes
test-long: environment ## whole workflows, killed, stopped and compared
	$(BIN)/python -m pytest -m long $(TWO)

# the mathematics alone, without stages, files and Snakemake
test-science: environment ## the tests of the mathematics
	$(BIN)/python -m pytest tests/science $(TWO)

# needs root, Linux and the packages slurm-wlm and munge
test-slurm: environment ## the workflow on a Slurm of its own
	$(BIN)/python -m pytest -m slurm

# needs chromium
test-browser: environment ## the page in headless Chromium
	$(BIN)/python -m pytest -m browser

# needs an NVIDIA GPU and a build of torch for it
test-gpu: environment ## the mathematics on a GPU, against the CPU
	$(BIN)/python -m pytest -m gpu

lint: environment ## ruff, mypy, import contracts, snakefmt
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	snakefmt --check Snakefile workflow
	snakemake --lint

benchmark: environment ## docs/performance.md, measured on this machine
	$(BIN)/python -m benchmarks
