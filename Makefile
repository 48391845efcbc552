# Needs Python 3.11+ and git. `make run` and `make test` set up all else themselves.
PYTHON ?= python3
BIN := .venv/bin
PIP := python -m pip install -qq --disable-pip-version-check
SHARED ?= ../shared/data
# Named after this folder: a copy of the tree makes its own environment.
READY := .venv/ready-$(shell pwd | cksum | cut -d' ' -f1)
TESTS := .venv/tests-ready
SELDOM := /(tests|testing|databricks|apprise|_inductor|fontTools|mypyc?|pip|setuptools|rdkit)/|/transformers/models/

.PHONY: run test ui lint lock bench errors soak reproduce quality long gpu-check studies install

run: $(READY)            ## the whole pipeline, from raw data to the registry
	@$(BIN)/hour9 run

test: $(TESTS)           ## all tests
	@$(BIN)/python -m pytest -n 3

ui: $(READY)             ## the MLflow and Prefect UIs on loopback, with the flows ready
	@$(BIN)/hour9 ui $(UI)

lint: $(READY)           ## ruff and mypy
	@$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy

bench: $(READY)          ## side by side with peers, to benchmarks/results.json
	@$(BIN)/python benchmarks/attention.py
	@$(BIN)/python benchmarks/gpt_speed.py
	@test ! -d $(SHARED)/tudataset || \
		$(BIN)/python benchmarks/molecules_speed.py --root $(SHARED)/tudataset
	@$(BIN)/python benchmarks/qlearning_speed.py
	@$(BIN)/python benchmarks/cartpole_speed.py --seeds 6-10
	@test ! -d $(SHARED)/sst2 || $(BIN)/python benchmarks/sentiment_speed.py --root $(SHARED)/sst2
	@test ! -d $(SHARED)/planetoid || \
		$(BIN)/python benchmarks/graphs_speed.py --root $(SHARED)/planetoid
	@$(BIN)/python benchmarks/graph_memory.py
	@$(BIN)/python benchmarks/scheduling.py

errors: $(READY)         ## how often each gate errs, to docs/gates.md; how long the gates take
	@$(BIN)/python benchmarks/gate_errors.py
	@$(BIN)/python benchmarks/bound_errors.py
	@$(BIN)/python benchmarks/judge_speed.py

soak: $(READY)           ## 1,000 promotions of one task at once, over SQLite and PostgreSQL
	@$(BIN)/python benchmarks/promotions.py
	@test ! -d /usr/lib/postgresql || $(BIN)/python benchmarks/promotions.py --store postgres

reproduce: $(READY)      ## every candidate's newest version, trained again: identical, or where not
	@$(BIN)/python benchmarks/reproduce_all.py

quality: $(READY)        ## accuracy and return over several seeds; real sets where they are at hand
	@$(BIN)/python benchmarks/nodes_quality.py
	@$(BIN)/python benchmarks/rl_quality.py --seeds 10
	@$(BIN)/python benchmarks/links_quality.py
	@test ! -d $(SHARED)/planetoid || for candidate in nodes-gcn nodes-gat; do \
		$(BIN)/python benchmarks/nodes_quality.py --root $(SHARED)/planetoid --name Cora \
			--candidate $$candidate; done
	@test ! -d $(SHARED)/tudataset || for name in MUTAG PROTEINS; do \
		$(BIN)/python benchmarks/molecules_quality.py --root $(SHARED)/tudataset --name $$name; done
	@test ! -d $(SHARED)/moleculenet || $(BIN)/python benchmarks/molecules_quality.py \
		--root $(SHARED)/moleculenet/graphs_npz --name esol
	@test ! -d $(SHARED)/sst2 || \
		$(BIN)/python benchmarks/sentiment_quality.py --root $(SHARED)/sst2 --seeds 3

long: $(READY)           ## an hour or two: Tiny Shakespeare, Multi30k, MNIST, the student's lessons
	@test ! -d $(SHARED)/text || $(BIN)/python benchmarks/shakespeare.py --size cpu
	@test ! -d $(SHARED)/text || $(BIN)/python benchmarks/translation_quality.py --set epochs=6
	@test ! -d $(SHARED)/images || $(BIN)/python benchmarks/vision_quality.py \
		--root $(SHARED)/images/MNIST/raw --set patch=4 --set epochs=3 --set batch_size=128 --seeds 1
	@$(BIN)/python benchmarks/student_quality.py

gpu-check: $(READY)      ## every candidate's first updates on the GPU against the CPU's; its speed
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/gpu_check.py

studies: $(READY)        ## questions answered in a picture, to studies/pictures
	@cd studies && PATH=$(CURDIR)/$(BIN):$$PATH dvc repro

install: $(READY)        ## only set up .venv

lock: $(READY)           ## write the versions now installed to requirements.lock
	@(head -1 requirements.lock; $(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//') > lock.part
	@mv lock.part requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing into .venv, some minutes the first time"
	@rm -f .venv/ready-*
	@$(PYTHON) -m venv --clear .venv
	@# The pip of Python 3.11 takes more than twice as long.
	@$(BIN)/$(PIP) pip==26.3
	@# Half of the packages on each of two cores; then whatever this Python needs beside them.
	@awk '/==/ { print > ".venv/half" NR % 2 }' requirements.lock
	@$(BIN)/$(PIP) --no-compile --no-deps -r .venv/half0 & \
		$(BIN)/$(PIP) --no-compile --no-deps -r .venv/half1; wait
	@$(BIN)/$(PIP) --no-compile -r requirements.lock
	@# What pip would do on one core, less what is hardly imported. Templates are no Python, and stay.
	@$(BIN)/python -m compileall -qq -j 0 -x '$(SELDOM)' .venv/lib src flows || true
	@$(BIN)/$(PIP) --no-deps -e .
	@mkdir -p -m 700 .hour9/dvc
	@# A copy of the tree without git works too: DVC only has to be told.
	@test -e .git || $(BIN)/dvc config --local core.no_scm true
	@touch $@

# What only tests need: a browser's driver, an S3 server, the linters of the compose stack.
$(TESTS): $(READY) requirements-test.lock
	@$(BIN)/$(PIP) --no-deps -r requirements-test.lock
	@touch $@
