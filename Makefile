# `make demo` and `make test` set up .venv and all they need the first time;
# an interrupted set-up continues where it stopped.
PYTHON ?= python3.11
export PYTHON

PY := .venv/bin/python
INSTALL := @bash requirements/install.sh
STACK := venv torch mmcv openmmlab package

.PHONY: help demo test lint clean

help:
	@echo 'make demo   toy data, training, detection, evaluation, pictures'
	@echo 'make test   style, dependencies and all tests'
	@echo 'make lint   style alone'
	@echo 'make clean  remove what builds and tests leave behind'
	@echo
	@echo 'The first demo or test installs everything into .venv: about 10'
	@echo 'minutes on 2 cores, most of it compiling mmcv.'
	@echo 'Needs Python 3.11 (another: make PYTHON=... demo) and a C++ compiler.'

demo:
	$(INSTALL) $(STACK)
	$(PY) tools/toy_demo.py

# One thread per worker: small tensors gain nothing from more.
test:
	$(INSTALL) $(STACK) deploy tests
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pip check
	OMP_NUM_THREADS=1 $(PY) -m pytest -n logical --maxprocesses 8 \
	    --dist worksteal --cov --cov-fail-under=90 --durations=10

lint:
	$(INSTALL) venv tests
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# Keeps .venv, data/ and work_dirs/.
clean:
	rm -rf build dist *.egg-info .coverage coverage.xml
	rm -rf .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -exec rm -rf {} +
