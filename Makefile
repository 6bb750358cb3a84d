# Two commands do everything: `make demo` and `make test`. Both set up what they need first.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
# TORCH_INDEX_URL chooses torch's build, e.g. the CPU or a CUDA index of pytorch.org. Empty: pip's default index.
TORCH_INDEX_URL ?=

.PHONY: setup demo test check proto bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/airsplit demo

test: setup
	$(BIN)/pytest

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/generate_proto.py --check

proto: setup
	$(BIN)/python scripts/generate_proto.py

bench: setup
	$(BIN)/python benchmarks/decode.py --json

clean:
	rm -rf $(VENV) build *.egg-info
