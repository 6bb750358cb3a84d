"""Checkpoints on disk: where they are, which tensors they hold, and reading just some of them.

Only safetensors are read, never a pickle. A tensor is read when it is asked for and not before, so
a process holds no more than its own layers.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import safe_open
from transformers import AutoConfig

from airsplit.errors import InputError, UnsupportedModelError
from airsplit.families import UNQUANTIZED, Config, family_of, text_config

EMBEDDED = "airsplit-tiny"
"""Name of the embedded model: what `--model` is by default."""

ASSETS = Path(__file__).parent / "assets"

_FILES = ["*.json", "*.safetensors", "tokenizer.model", "*.txt", "*.jinja"]
_PREFIX = re.compile(r"^(?:model\.language_model\.|language_model\.model\.|model\.)?")
_INNER = ("embed_tokens.", "layers.", "norm.")


def locate(model: str) -> Path:
    """The folder of `model`: the embedded one, a local directory, or a hub id (downloaded).

    Raises:
        InputError: it is none of these, or cannot be fetched.
    """
    if model == EMBEDDED:
        return ASSETS / EMBEDDED
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or model.startswith(".") or model.count("/") > 1:
        raise InputError(f"--model: {model!r} is not a directory")
    try:
        return Path(snapshot_download(model, allow_patterns=_FILES))
    except (HFValidationError, LocalEntryNotFoundError, OSError) as error:
        why = str(error).strip().splitlines()[0]
        raise InputError(
            f"--model: {model!r} is neither a directory nor a hub id that can be fetched: {why}"
        ) from error


@dataclass(frozen=True)
class Checkpoint:
    """One model folder with `config.json` and safetensors."""

    path: Path

    @cached_property
    def config(self) -> Config:
        """The language model's configuration.

        Raises:
            InputError: missing or unreadable.
            UnsupportedModelError: a family or a feature that cannot be split.
        """
        if not (self.path / "config.json").is_file():
            raise InputError(f"--model: {self.path} has no config.json")
        try:
            whole = AutoConfig.from_pretrained(self.path)
        except (OSError, ValueError, KeyError) as error:
            why = str(error).strip().splitlines()[0]
            raise UnsupportedModelError(f"model: {self.path}: {why}") from error
        config = text_config(whole)
        family_of(config)
        if getattr(whole, "quantization_config", None):
            raise UnsupportedModelError(f"model: {self.path}: quantized; {UNQUANTIZED}")
        return config

    @cached_property
    def files(self) -> dict[str, tuple[Path, str]]:
        """By parameter name as transformers spells it: the file, and the name in the file.

        Raises:
            InputError: no safetensors, or an index that names missing files.
        """
        index = self.path / "model.safetensors.index.json"
        names = _shards(index) if index.is_file() else ["model.safetensors"]
        missing = [name for name in names if not (self.path / name).is_file()]
        if missing:
            raise InputError(f"--model: {self.path} lacks {missing[0]} (only safetensors are read)")
        found: dict[str, tuple[Path, str]] = {}
        for name in names:
            try:
                with safe_open(self.path / name, framework="pt") as file:
                    for key in file.keys():  # noqa: SIM118 - not a mapping
                        found[_canonical(key)] = (self.path / name, key)
            except Exception as error:  # safetensors raises its own bare exception type
                raise InputError(f"--model: {self.path / name} is damaged: {error}") from error
        return found

    def read(self, name: str, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """One tensor, read from its file alone.

        Raises:
            InputError: the checkpoint has no such tensor.
        """
        if name not in self.files:
            raise InputError(f"--model: {self.path} lacks the tensor {name}")
        path, key = self.files[name]
        with safe_open(path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(key)
        return tensor.to(device=device, dtype=dtype)

    @cached_property
    def fingerprint(self) -> str:
        """Of the configuration, and of every tensor's name, shape, dtype and samples of its bytes.

        Cheap at any size, so it tells other weights apart but for changes that miss every sample;
        it does not depend on how tensors are spread over files.
        """
        digest = hashlib.sha256(json.dumps(_stable(self.config), sort_keys=True).encode())
        tensors: list[tuple[str, Path, int, dict[str, Any]]] = []
        for path in {path for path, _ in self.files.values()}:
            with path.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                header: dict[str, Any] = json.loads(file.read(size))
            header.pop("__metadata__", None)
            tensors += [(name, path, 8 + size, entry) for name, entry in header.items()]
        for name, path, base, entry in sorted(tensors, key=lambda tensor: tensor[0]):
            digest.update(f"{name} {entry['dtype']} {entry['shape']}".encode())
            start, stop = entry["data_offsets"]
            with path.open("rb") as file:
                for offset in (start, (start + stop) // 2):
                    file.seek(base + offset)
                    digest.update(file.read(min(256, stop - offset)))
        return digest.hexdigest()[:32]


def _shards(index: Path) -> list[str]:
    """The files that an index names."""
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"--model: {index} is damaged: {error}") from error


def _canonical(key: str) -> str:
    """A file's tensor name as the causal LM spells it; names of other parts stay as they are."""
    inner = _PREFIX.sub("", key)
    if inner.startswith(_INNER):
        return f"model.{inner}"
    return "lm_head.weight" if key.endswith("lm_head.weight") else key


def _stable(config: Config) -> dict[str, Any]:
    """What of a configuration decides what the model computes."""
    volatile = ("_name_or_path", "transformers_version", "dtype", "use_cache", "torch_dtype")
    return {
        key: str(value)
        for key, value in config.to_dict().items()
        if key not in volatile and not key.startswith("_")
    }
