# Two commands do everything: `make demo` and `make test`. Both set up what they need first.
PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
TORCH := $(shell grep '^torch==' constraints.txt)
# TORCH_INDEX_URL chooses torch's build: the index of PyTorch's CPU or CUDA wheels. Empty: pip's default index.
TORCH_INDEX_URL ?=
PYTHON_VERSION = $(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)
PYTHON_FITS = $(shell $(PYTHON) -c 'import sys; print("yes" * (sys.version_info >= (3, 11)))' 2>/dev/null)

.PHONY: setup demo test check proto bench wheels compose-test clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(if $(PYTHON_FITS),,$(error Python 3.11 or newer is needed; $(PYTHON) is $(or $(PYTHON_VERSION),not there). Name one: make PYTHON=/path/to/python3.11))
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) $(TORCH)
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
	$(BIN)/python benchmarks/channel.py --json
	$(BIN)/python benchmarks/pacing.py
	$(BIN)/python benchmarks/decode.py --json

# Torch as this host's pip chooses it, for the images.
wheels: setup
	rm -f docker/wheels/torch-*.whl
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --dest docker/wheels \
		$(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) $(TORCH)

# Needs a Docker engine with Compose; docker/engine.sh brings one to a bare Debian. The images' torch is the one
# of .venv, whose numbers theirs are compared with.
compose-test: wheels
	@docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1 \
		|| { echo "compose-test: no Docker engine with Compose answers; see docker/engine.sh" >&2; exit 2; }
	docker compose --progress plain --profile ue build
	$(BIN)/pytest -m compose --timeout 1800 tests/e2e

clean:
	rm -rf $(VENV) build *.egg-info
