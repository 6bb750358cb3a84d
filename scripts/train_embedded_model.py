"""Trains a small Llama like the embedded default, from plain-text files, on the CPU.

One pass from top to bottom: read the texts, train a byte-level BPE tokenizer on them, train the
model, save both as transformers loads them. The defaults are the embedded model's recipe.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from training_recipe import Recipe
from training_text import BOS, EOS, Batch, batches, read_corpus, train_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from airsplit.command_line import Parser
from airsplit.errors import AirSplitError, InputError

PROGRAM = "train_embedded_model.py"
DECAY_FROM = 0.7
"""Share of the steps after which the learning rate falls."""

FINAL_SHARE = 0.02
"""Share of the learning rate that is left at the last step."""

EMBEDDING_STD = 0.5
HEAD_STD = 0.02
"""With these, and blocks that add nothing at first, the residual stream grows with depth as it does
in large models. Tied embeddings of 0.02 make it jump to its final size in the first layer."""


class DivergedError(AirSplitError):
    """The loss is no longer a number."""


def build_model(recipe: Recipe, tokenizer: Tokenizer) -> Any:
    """A fresh model, in fp32, whose blocks add nothing to the residual stream yet."""
    eos = tokenizer.token_to_id(EOS)
    config = LlamaConfig(
        vocab_size=recipe.vocab_size,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.ffn_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        max_position_embeddings=recipe.max_context,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.token_to_id(BOS),
        eos_token_id=eos,
        pad_token_id=eos,
    )
    torch.manual_seed(recipe.seed)
    model: Any = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_(std=EMBEDDING_STD)
        model.lm_head.weight.normal_(std=HEAD_STD)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    return model.train()


def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """AdamW; weights of norms do not decay."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": 0.1},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)


def learning_rate(step: int, recipe: Recipe) -> float:
    """Of step 1, 2, ..., `recipe.steps`: linear warm-up, constant, then linear to 2 %."""
    warmth = min(1.0, step / recipe.warm_up) if recipe.warm_up else 1.0
    begin = DECAY_FROM * recipe.steps
    fallen = max(0.0, (step - begin) / (recipe.steps - begin))
    return recipe.learning_rate * warmth * (1 - (1 - FINAL_SHARE) * fallen)


def train_model(model: Any, feed: Iterator[Batch], recipe: Recipe) -> None:
    """Runs all steps and prints progress.

    Raises:
        DivergedError: the loss is not finite.
    """
    optimizer = build_optimizer(model)
    begun = shown_at = time.monotonic()
    losses: list[float] = []
    for step in range(1, recipe.steps + 1):
        rate = learning_rate(step, recipe)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = next(feed)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=batch.inputs, use_cache=False).logits
        loss = nn.functional.cross_entropy(logits.float().flatten(0, 1), batch.targets.flatten())
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise DivergedError(f"the loss of step {step} is {losses[-1]}; nothing was saved")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % recipe.log_every == 0 or step == recipe.steps:
            now = time.monotonic()
            speed = len(losses) * batch.inputs.numel() / (now - shown_at)
            left_min = (now - begun) / 60 / step * (recipe.steps - step)
            print(
                f"step {step}/{recipe.steps}  loss {np.mean(losses):.4f}  rate {rate:.2e}  "
                f"{speed:.0f} tokens/s  pass {batch.passes}  {left_min:.1f} min left",
                flush=True,
            )
            shown_at = now
            losses.clear()


def save(model: Any, tokenizer: Tokenizer, recipe: Recipe) -> None:
    """Configuration, weights in bf16, tokenizer: what AutoModelForCausalLM and AutoTokenizer read.

    Raises:
        InputError: the folder cannot be written.
    """
    fast: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        model_max_length=recipe.max_context,
    )
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model.to(torch.bfloat16).save_pretrained(recipe.out)
        fast.save_pretrained(recipe.out)
    except OSError as error:
        raise InputError(f"--out: {str(recipe.out)!r} cannot be written: {error}") from error


def make_folder(out: Path) -> None:
    """Makes the folder now, so that no training is lost on one that cannot be written.

    Raises:
        InputError: it cannot be written, or holds something.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        holds_something = any(out.iterdir())
    except OSError as error:
        raise InputError(f"--out: {str(out)!r} cannot be made: {error.strerror}") from error
    if holds_something:
        raise InputError(f"--out: {str(out)!r} is not empty; allowed: a new or an empty folder")
    if not os.access(out, os.W_OK):
        raise InputError(f"--out: {str(out)!r} cannot be written")


def train(recipe: Recipe) -> None:
    """Texts in, a model folder out.

    Raises:
        InputError: a text or the output folder will not do; nothing was lost.
        DivergedError: the loss is not finite.
    """
    corpus = read_corpus(recipe.text)
    make_folder(recipe.out)
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
        os.environ["RAYON_NUM_THREADS"] = str(recipe.threads)  # the tokenizer's own knows no other
    for entry in fields(recipe):
        print(f"{entry.name} = {getattr(recipe, entry.name)}")
    tokenizer = train_tokenizer(corpus.texts, recipe.vocab_size)
    model = build_model(recipe, tokenizer)
    print(
        f"{len(corpus.pieces)} pieces of text, {sum(map(len, corpus.pieces))} characters; "
        f"{sum(p.numel() for p in model.parameters())} parameters; "
        f"{recipe.steps * recipe.batch * recipe.context} tokens to learn from",
        flush=True,
    )
    feed = batches(corpus.pieces, tokenizer, recipe.batch, recipe.context, recipe.seed)
    train_model(model, feed, recipe)
    save(model, tokenizer, recipe)
    print(f"saved {recipe.out}")


def parse(argv: Sequence[str] | None) -> Recipe:
    """Raises: InputError: a value is out of its range."""
    parser = Parser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"example: python scripts/{PROGRAM} --text books.txt.xz --text notes.txt:3 "
        "--out runs/my-model\n"
        "then:    airsplit generate --model runs/my-model --prompt 'Once upon a time'\n\n"
        "The embedded model took 47 minutes on two CPU cores for 10.6 million tokens.",
    )
    parser.add_argument(
        "--text",
        action="append",
        required=True,
        metavar="FILE[:REPEAT]",
        help="UTF-8 text, plain or .xz, used REPEAT times (default 1) in a pass; may be repeated",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write, new or empty"
    )

    for entry in fields(Recipe):
        if not entry.metadata:
            continue
        default = "the libraries' choice" if entry.default is None else f"{entry.default:g}"
        parser.add_argument(
            f"--{entry.name.replace('_', '-')}",
            type=float if isinstance(entry.default, float) else int,
            default=entry.default,
            metavar=entry.metadata["unit"],
            help=f"{entry.metadata['what']} (default {default})",
        )
    values = vars(parser.parse_args(argv))
    return Recipe(**{**values, "text": tuple(values["text"])})


def main(argv: Sequence[str] | None = None) -> int:
    try:
        train(parse(argv))
    except AirSplitError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print(f"{PROGRAM}: stopped; nothing was saved", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
