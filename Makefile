# Commands for developers and CI; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --quiet
# Bytecode is compiled at installation: where Python may not write it, every import would compile again.
# uv does not read pip's settings, so an index that is set there is passed on.
INSTALL := index="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(BIN)/pip config get global.index-url 2>/dev/null)}}"; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes

.DEFAULT_GOAL := help
.PHONY: help quick setup setup-dev setup-team repro refetch test check format ui track results report preset seeds compare \
	experiments champion explore reproduce screenshots bench frontier docs lock clean

##@ first run
help:  ## show this menu
	@awk -F ':.*## ' '/^##@ /{print "\n" substr($$0, 5)} /^[a-z-]+:.*## /{printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quick: setup  ## try everything in minutes: digits, few steps; all results in the folder quick
	@python -m pipeline quick

setup: $(BIN)/.run  ## create the environment in .venv from the lock file

repro: setup  ## run the pipeline: every stage whose inputs changed
	@python -m pipeline.tools.estimate
	dvc repro

refetch: setup  ## prepare the data set again, for archives put into data/raw later, and run the pipeline
	dvc repro --force --single-item prepare
	dvc repro

##@ look
results: setup  ## print the headline metrics of the model on disk, one per line
	@python -m pipeline results

report: setup  ## bring reports/report.html up to date: runs the stages that are due
	dvc repro report

explore: setup  ## play with a model in the browser: make explore, or make explore VERSION=3
	@python -m pipeline explore $(VERSION) --open

ui: setup  ## serve MLflow's page: curves, samples, runs, registered versions
	mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}" --host 127.0.0.1 --port 5000

##@ compare
compare: setup  ## table of experiments by what was changed: mean and 95 % interval over seeds
	@python -m pipeline compare

experiments: setup  ## DVC's table of experiments: changed parameters and the main metrics
	@found=$$(dvc exp list --all-commits --name-only && dvc queue status) || exit 1; \
	case "$$found" in "No experiment tasks"*) \
		echo "no experiments yet: dvc exp run makes one; make results prints the metrics of the model on disk"; exit;; esac; \
	drop=$$(python -m pipeline compare --drop-pattern) && origin=$$(python -m pipeline results --origin) || exit 1; \
	dvc exp show --only-changed --hide-failed --no-pager --drop "$$drop" || exit 1; \
	dvc queue status | sed -n 's/^\(.*Failed.*\)$$/left out: \1/p'; \
	echo "the row workspace shows $$origin"

preset: setup  ## run a preset as an experiment: make preset NAME=cycle
	@test -n "$(NAME)" || { echo "error: make preset NAME=..., one of:"; python -m pipeline preset; exit 1; }
	changes=$$(python -m pipeline preset $(NAME)) && dvc exp run --temp --name $(NAME) $$changes

seeds: repro  ## train the default under two more seeds, then compare
	dvc exp run --temp -S train.seed=1
	dvc exp run --temp -S train.seed=2
	python -m pipeline compare

champion: setup  ## list the registered versions: which one is champion, and why
	@python -m pipeline champion

##@ use: python -m pipeline swap, reconstruct, sample, encode (inside .venv)
##@ share
track: setup  ## send what lies on disk to the tracking store, whatever it lacks
	python -m pipeline track

reproduce: setup  ## rerun a registered version from its commit and compare: make reproduce VERSION=1
	@test -n "$(VERSION)" || { echo "error: which version? make reproduce VERSION=1; make champion lists them"; exit 1; }
	python -m pipeline reproduce --version $(VERSION)

setup-team: $(BIN)/.team  ## add what a team's servers need: PostgreSQL for MLflow, S3 for MLflow and DVC

##@ develop
setup-dev: $(BIN)/.dev  ## add the development tools

test: setup-dev  ## run the tests
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: setup-dev  ## check format, lint and types
	ruff format --check .
	ruff check .
	mypy

format: setup-dev  ## format the code and fix what lint can fix
	ruff format .
	ruff check --fix .

bench: repro  ## run all benchmarks: about three quarters of an hour, with nothing else running
	python -m benchmarks

frontier: repro  ## measure what less leakage costs: about three quarters of an hour
	python -m benchmarks.frontier

docs: repro  ## copy the figures and recorded numbers into the documents, make the gallery
	mkdir -p docs/figures
	cp reports/figures/*.png reports/figures/*.gif docs/figures/
	python -m pipeline.tools.gallery
	python -m pipeline explore -o docs/explorer.html
	python -m pipeline.tools.readme

screenshots: setup  ## take pictures of MLflow's page and the explorer for the documents (needs Chromium)
	python -m pipeline.tools.screenshots

lock: $(BIN)/uv  ## pin the newest versions of all dependencies, with hashes
	$(LOCK) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(LOCK) --upgrade requirements/run.in -o requirements/run.txt
	$(LOCK) --upgrade requirements/dev.in -c requirements/run.txt -o requirements/dev.txt
	$(LOCK) --upgrade requirements/team.in -c requirements/dev.txt -o requirements/team.txt

clean:  ## remove the environment
	rm -rf .venv

$(BIN)/uv: requirements/bootstrap.txt requirements/environment.pth
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1), Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt
	cp requirements/environment.pth $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	@touch $@

$(BIN)/.run: $(BIN)/uv requirements/run.txt
	@echo "installing the environment: once, torch with CUDA, several gigabytes, a minute or more"
	@$(INSTALL) -r requirements/run.txt
	@touch $@

$(BIN)/.dev: $(BIN)/.run requirements/dev.txt
	@$(INSTALL) -r requirements/dev.txt
	@touch $@

$(BIN)/.team: $(BIN)/.run requirements/team.txt
	@$(INSTALL) -r requirements/team.txt
	@touch $@
