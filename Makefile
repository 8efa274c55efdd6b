# One vocabulary of commands, for the hand, for CI and for the README. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --quiet
# Compiled once here: where Python may not write bytecode, each import would compile anew.
# uv does not read pip's settings: an index that is set there is passed on.
INSTALL := index="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(BIN)/pip config get global.index-url 2>/dev/null)}}"; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev repro refetch test check format ui preset seeds reproduce champion compare \
	table screenshots bench frontier docs lock clean

help:  ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(BIN)/.run  ## the environment in .venv, from the lock file

setup-dev: $(BIN)/.dev  ## the same with the tools for developing

repro: setup  ## run the pipeline: every stage whose inputs changed
	dvc repro

refetch: setup  ## fetch the data set again, after archives were put into data/raw, and go on
	dvc repro --force --single-item prepare
	dvc repro

test: setup-dev  ## run the tests
	python -m pytest -n 2 --dist loadfile

check: setup-dev  ## format, lint and types
	ruff format --check .
	ruff check .
	mypy

format: setup-dev  ## format and mend what lint can mend
	ruff format .
	ruff check --fix .

ui: setup  ## MLflow's page at http://127.0.0.1:5000
	mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}" --host 127.0.0.1 --port 5000

preset: setup  ## run a preset as an experiment: make preset NAME=cycle
	@test -n "$(NAME)" || { echo "error: make preset NAME=..., one of:"; python -m pipeline preset; exit 1; }
	changes=$$(python -m pipeline preset $(NAME)) && dvc exp run --temp --name $(NAME) $$changes

seeds: setup  ## run the default under two more seeds, then print mean and interval of all
	dvc exp run --queue -S 'train.seed=1,2'
	dvc queue start
	while dvc queue status | grep -Eq 'Queued|Running'; do sleep 5; done
	@! dvc queue status | grep Failed || { echo "error: dvc queue logs NAME says why"; exit 1; }
	python -m pipeline compare

reproduce: setup  ## make a registered version again and compare: make reproduce VERSION=1
	python -m pipeline reproduce --version $(VERSION)

champion: setup  ## the registered versions, which is champion of its data set, and why
	python -m pipeline champion

# All but the few columns that matter first, and of the parameters those that differ.
OTHERS := ^(?!(Experiment|leakage/(mean|sampled)|specified/probe_accuracy|swap/identity_accuracy|reconstruction/mse|(prepare|model|train|judge|evaluate)\..*)$$).*

compare: setup  ## DVC's table of the experiments: what was changed, what came of it
	@dvc exp show --only-changed --no-pager --drop '$(OTHERS)'

table: setup  ## mean and interval over seeds of all experiments, by what was changed
	@python -m pipeline compare

screenshots: setup  ## the README's pictures of MLflow's page and DVC's table (needs Chromium)
	python docs/screenshots.py

bench: repro  ## measure what the README says of speed: about half an hour, nothing else running
	python -m benchmarks

frontier: repro  ## measure what less leakage costs: about three quarters of an hour
	python -m benchmarks.frontier

docs: repro  ## bring the README's figures and numbers up to date
	mkdir -p docs/figures
	cp reports/figures/*.png docs/figures/
	python -m docs.numbers

lock: $(BIN)/uv  ## pin every dependency anew, with hashes
	$(LOCK) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(LOCK) --upgrade requirements/run.in -o requirements/run.txt
	$(LOCK) --upgrade requirements/dev.in -c requirements/run.txt -o requirements/dev.txt

clean:  ## remove the environment
	rm -rf .venv

$(BIN)/uv: requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1), Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt
	@# Whatever Python runs in this environment (mlflow ui, typed by hand, too) sends no telemetry.
	@printf 'import os; os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true"); os.environ.setdefault("DVC_NO_ANALYTICS", "true")\n' \
		> $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/no_telemetry.pth
	@touch $@

$(BIN)/.run: $(BIN)/uv requirements/run.txt
	@echo "installing the environment: once, about 5 GB (torch with CUDA), a minute or more"
	@$(INSTALL) -r requirements/run.txt
	@touch $@

$(BIN)/.dev: $(BIN)/.run requirements/dev.txt
	@$(INSTALL) -r requirements/dev.txt
	@touch $@
