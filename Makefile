# `make demo` and `make test` set up .venv and all they need the first time;
# an interrupted set-up continues where it stopped.
# PYTHON: the interpreter; unset, the first that works of 3.11, 3.12, 3.13 and
# 3.10. MMCV: lite or compiled; unset, as .venv has it, or else lite.
export PYTHON MMCV

PY := .venv/bin/python
INSTALL := @bash requirements/install.sh

.PHONY: help demo test matrix lint clean

help:
	@echo 'make demo   toy data, training, detection, evaluation, pictures'
	@echo 'make test   style, dependencies and all tests'
	@echo 'make matrix tries which versions work together (docs/install.md)'
	@echo 'make lint   style alone'
	@echo 'make clean  remove what builds and tests leave behind'
	@echo
	@echo 'The first demo or test installs everything into .venv, in about 2'
	@echo 'minutes where the network is fast. Needs Python 3.10 to 3.13'
	@echo '(which one: make PYTHON=... demo) and no compiler. With one,'
	@echo "'make MMCV=compiled demo' compiles mmcv, in 7 to 10 minutes more."

demo:
	$(INSTALL) package
	$(PY) tools/toy_demo.py

# One thread per worker: small tensors gain nothing from more.
test:
	$(INSTALL) package deploy tests
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pip check
	OMP_NUM_THREADS=1 $(PY) -m pytest -n logical --maxprocesses 8 \
	    --dist worksteal --cov --cov-fail-under=90 --durations=10

# In temporary environments; ROWS="3.12 3.11:compiled" for some of the rows.
matrix:
	python3 requirements/matrix.py $(ROWS)

lint:
	$(INSTALL) tests
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# Keeps .venv, data/ and work_dirs/.
clean:
	rm -rf build dist .coverage coverage.xml
	rm -rf .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o \
	    '(' -name __pycache__ -o -name '*.egg-info' ')' -exec rm -rf {} +
