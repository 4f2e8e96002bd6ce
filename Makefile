# Everything a newcomer needs: make install, make demo, make test, make check, make servers, make test-servers, make bench.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUDGET ?= 20
BESIDE := -n auto --dist worksteal --durations 15
# What fails is asked once more, and told in the summary: a neighbour on this machine is no defect of ours.
AGAIN := --reruns 1

.PHONY: install demo test check servers test-servers test-all-servers bench docs lock clean

install: $(VENV)/installed

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("pinchpoint needs Python 3.11 or newer; name one: make install PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

build/resnet50.onnx build/bert_base.onnx: | $(VENV)/installed
	$(BIN)/python examples/networks.py build resnet50 bert_base

demo: install build/resnet50.onnx build/bert_base.onnx
	$(BIN)/pinchpoint diagnose build/bert_base.onnx --budget $(BUDGET)
	$(BIN)/pinchpoint diagnose examples/image_classifier.py:handle --budget $(BUDGET)

# `make test MARKED=slow` leaves out what `make check` has just run. Tests that measure come last, one at a time.
test: install
	$(BIN)/python -m pytest $(BESIDE) $(AGAIN) -m "not alone and not servers $(if $(MARKED),and $(MARKED))"
	$(BIN)/python -m pytest $(AGAIN) --durations 15 -m "alone and not servers $(if $(MARKED),and $(MARKED))"

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(BESIDE) $(AGAIN) -m "not slow"

# Real inference servers (Triton, TorchServe, MLServer, ...), each by itself in build/servers: 5.7 GB, about 4 minutes. What this
# machine cannot have is said, and is no failure. One alone: make servers NAMES=triton
servers: install
	$(BIN)/python -m bench.real_servers.install $(NAMES)

# Starts each, plants a fault, asks what limits it, and stops it; those that are not there say so and are skipped. 15 minutes.
test-servers: install
	$(BIN)/python -m pytest $(AGAIN) --durations 15 -m "servers and not more"

# Every fault in every server that can have it, and every way to die: an hour.
test-all-servers: install
	$(BIN)/python -m pytest $(AGAIN) --durations 15 -m servers

bench: install
	$(BIN)/python -m bench

docs: install
	$(BIN)/python -m docs.causes

lock:
	$(BIN)/uv pip compile pyproject.toml --extra onnx --extra grpc --group dev --group examples --group bench --group servers --universal \
	  --generate-hashes --python-version 3.11 --custom-compile-command "make lock" -o requirements.lock

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache
