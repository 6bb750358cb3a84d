"""Tokenisers and corpora: the embedded sample, WikiText-2, any local text file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from airsplit.checkpoint import ASSETS
from airsplit.errors import InputError

SAMPLE = "sample"
WIKITEXT = "wikitext-2"


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokeniser of a model folder.

    Raises:
        InputError: there is none that can be read.
    """
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        why = str(error).strip().splitlines()[0]
        raise InputError(f"--model: {folder} has no usable tokenizer: {why}") from error
    tokenizer.model_max_length = 1 << 30  # windows are ours to cut; no warning about long texts
    return tokenizer  # type: ignore[no-any-return]


def load_text(dataset: str) -> str:
    """The text of `sample`, `wikitext-2` (test split), a folder with test.txt, or a text file.

    Raises:
        InputError: it is none of these, is empty, or cannot be fetched.
    """
    path = Path(dataset).expanduser()
    if dataset == SAMPLE:
        text = (ASSETS / "sample.txt").read_text(encoding="utf-8")
    elif path.is_dir():
        text = _read(path / "test.txt", dataset)
    elif path.is_file():
        text = _read(path, dataset)
    elif dataset == WIKITEXT:
        text = _wikitext()
    else:
        raise InputError.of(
            "--dataset", dataset, "sample, wikitext-2, a text file, or a folder with test.txt"
        )
    if not text.strip():
        raise InputError(f"--dataset: {dataset!r} is empty")
    return text


def _read(path: Path, dataset: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--dataset: {dataset!r} cannot be read: {error}") from error


def _wikitext() -> str:
    """The test split from the hub, joined as the paper's authors join it."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise InputError(
            "--dataset: wikitext-2 from the hub needs `pip install -e '.[data]'`; "
            "or give a folder with test.txt"
        ) from error
    try:
        rows = load_dataset("Salesforce/wikitext", "wikitext-2-raw-v1", split="test")
    except Exception as error:  # datasets raises a dozen kinds for one cause: no hub
        why = str(error).strip().splitlines()[0]
        raise InputError(
            f"--dataset: wikitext-2 cannot be fetched from the hub ({why}); "
            "give a folder with test.txt"
        ) from error
    return "\n\n".join(rows["text"])
