# Everything runs in .venv, which `make` sets up by itself from Python 3.11 or newer. The wheel of the
# Triton server is for 3.11 and 3.12, so these come first.
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
VENV := .venv
# A dot for each package that pip looks at, and whatever else it says that is no routine.
DOTS := awk '/^(Collecting|Downloading|Installing|Obtaining)/ {printf "."; fflush(); next} \
	/^(ERROR|error)/ {print} END {print ""}'
BIN := $(VENV)/bin
ARGS ?=
DATA ?= ../shared/data

.PHONY: up setup test lint types unit docs docs-check check-training train-sentiment train-phi deployment soak clean

up: $(VENV)/.installed  ## start the gateway and send a clinical note through it
	@$(BIN)/wardgate up $(ARGS)

setup: $(VENV)/.dev  ## set up for development

test: lint types docs-check unit  ## all checks and tests

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(BIN)/pytest $(ARGS)

docs: $(VENV)/.dev  ## write the generated pages of docs/reference
	$(BIN)/python docs/generate.py

docs-check: $(VENV)/.dev
	$(BIN)/python docs/generate.py --check

check-training: .venv-training/.installed  ## tests of training/, which need torch
	.venv-training/bin/python -m pytest -c tests/training/pytest.ini --confcutdir tests/training tests/training

train-sentiment: .venv-training/.installed  ## train, export and quantise the shipped model
	@.venv-training/bin/python -m pip install --disable-pip-version-check -r training/requirements-teacher.txt 2>&1 | $(DOTS)
	.venv-training/bin/python -m training.sentiment --data $(DATA)/sst2 --gazetteers $(DATA)/phi \
	--out src/wardgate/registry/shipped/sentiment/1 --work .training/sentiment $(ARGS)
	cd src/wardgate/registry/shipped && sha256sum */*/manifest.json > SHA256SUMS

train-phi: .venv-training/.installed  ## write notes with PHI, train the tagger on them, export it
	PYTHONPATH=src:. .venv-training/bin/python -m training.phi.generate --data $(DATA)/phi --out .training/phi
	PYTHONPATH=src:. .venv-training/bin/python -m training.phi --data $(DATA)/phi \
	--work .training/phi --out src/wardgate/deid/data/tagger $(ARGS)

deployment: $(VENV)/.dev  ## run one deployment of the paper: make deployment ARGS=fastapi|triton|triton-unbatched|hybrid|compare
	$(BIN)/python benchmarks/deployments.py $(ARGS)

soak: $(VENV)/.dev  ## an hour at 70 % of the capacity: memory, descriptors, p99 (a minute: make soak ARGS="--seconds 60 --out build")
	$(BIN)/wardgate bench soak benchmarks/scenarios/soak.toml --out benchmarks/results $(ARGS)

clean:
	rm -rf $(VENV) .venv-training .training build dist src/*.egg-info

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Wardgate needs Python 3.11 or newer (set PYTHON=...)" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { echo "this Python cannot make a virtual environment; \
	on Debian: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "installing Wardgate into $(VENV) (under a minute with a warm package cache)"
	@$(BIN)/python -m pip install --disable-pip-version-check -e . 2>&1 | $(DOTS)
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing Wardgate and its development tools into $(VENV)"
	@$(BIN)/python -m pip install --disable-pip-version-check -e ".[dev]" 2>&1 | $(DOTS)
	@touch $@ $(VENV)/.installed

.venv-training/.installed: training/requirements.txt
	$(PYTHON) -m venv .venv-training
	@.venv-training/bin/python -m pip install --disable-pip-version-check -r $< 2>&1 | $(DOTS)
	@touch $@
