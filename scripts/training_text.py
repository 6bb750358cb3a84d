"""What a model is trained on: texts, the tokenizer that learns from them, batches of token ids."""

from __future__ import annotations

import itertools
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from airsplit.errors import InputError

BOS, EOS = "<s>", "</s>"
SMALLEST_VOCABULARY = 256 + 2
"""Every byte, and the two special tokens."""

PIECE_CHARACTERS = 8192
MOST_REPEATS = 1000
ENCODED_PIECES = 32
"""Pieces tokenised at a time: enough for all threads, little enough to hold."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """All files."""

    texts: list[str]
    """Each once and whole: what the tokenizer learns from."""

    pieces: list[str]
    """Cut up, with repetitions: what the model learns from."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids [batch, context] and for each the one that follows."""

    inputs: torch.Tensor
    targets: torch.Tensor
    passes: int
    """How often the corpus has been begun, 1 the first time."""


def read_text(path: Path) -> str:
    """The text of a plain or .xz file.

    Raises:
        InputError: it is missing, not readable, not UTF-8 or empty.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".xz":
            data = lzma.decompress(data)
        text = data.decode("utf-8")
    except OSError as error:
        raise InputError(f"--text: {str(path)!r} cannot be read: {error.strerror}") from error
    except lzma.LZMAError as error:
        raise InputError(f"--text: {str(path)!r} is not a whole .xz file: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--text: {str(path)!r} is not UTF-8: byte {error.start}") from error
    if not text.strip():
        raise InputError(f"--text: {str(path)!r} is empty")
    return text


def read_corpus(files: Sequence[str]) -> Corpus:
    """Cuts every file into pieces of 8192 characters; the last one of a file is shorter.

    Raises:
        InputError: names the file and what is wrong with it.
    """
    corpus = Corpus([], [])
    for file in files:
        name, _, repeat = file.rpartition(":")
        if not (name and repeat.isdecimal()):
            name, repeat = file, "1"
        if not 1 <= int(repeat) <= MOST_REPEATS:
            raise InputError.of("--text", file, f"FILE or FILE:REPEAT, REPEAT 1-{MOST_REPEATS}")
        text = read_text(Path(name).expanduser())
        starts = range(0, len(text), PIECE_CHARACTERS)
        pieces = [text[start : start + PIECE_CHARACTERS] for start in starts]
        corpus.texts.append(text)
        corpus.pieces.extend(pieces * int(repeat))
    return corpus


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE; every text that it encodes begins with <s>.

    Raises:
        InputError: the texts do not have as many different tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    found = tokenizer.get_vocab_size()
    if found < vocab_size:
        raise InputError.of("--vocab-size", vocab_size, f"up to {found} with this text")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A $B",
        special_tokens=[(BOS, tokenizer.token_to_id(BOS))],
    )
    return tokenizer


def batches(
    pieces: Sequence[str], tokenizer: Tokenizer, batch: int, context: int, seed: int
) -> Iterator[Batch]:
    """Endless: pass after pass over all pieces, each in an order of its own, as one stream of
    tokens that is cut into sequences."""
    size = batch * context
    stream: list[int] = []
    for passes in itertools.count(1):
        order = np.random.default_rng([seed, passes]).permutation(len(pieces))
        for start in range(0, len(order), ENCODED_PIECES):
            chosen = [pieces[n] for n in order[start : start + ENCODED_PIECES]]
            for encoding in tokenizer.encode_batch(chosen):
                stream.extend(encoding.ids)
            while len(stream) > size:
                ids = torch.tensor(stream[: size + 1])
                del stream[:size]
                yield Batch(ids[:-1].view(batch, context), ids[1:].view(batch, context), passes)
