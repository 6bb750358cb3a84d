"""The unsplit model as transformers runs it: what a split run over an ideal channel must equal."""

from __future__ import annotations

from functools import cache

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from airsplit.checkpoint import EMBEDDED, locate
from airsplit.perplexity import windows
from airsplit.text import SAMPLE, load_text
from ue_client.tasks import DEFAULT_PROMPT

WINDOW = 512


@cache
def _model(name: str = EMBEDDED):  # type: ignore[no-untyped-def]
    model = AutoModelForCausalLM.from_pretrained(locate(name), dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(locate(name))


@cache
def greedy_tokens(count: int) -> list[int]:
    """Continues the default prompt, past ends of sequence."""
    model, tokenizer = _model()
    prompt = torch.tensor([tokenizer.encode(DEFAULT_PROMPT)])
    model.generation_config.eos_token_id = None
    with torch.inference_mode():
        out = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=count, do_sample=False
        )
    tokens: list[int] = out[0, prompt.shape[1] :].tolist()
    assert len(tokens) == count
    return tokens


@cache
def perplexity(max_tokens: int, name: str = EMBEDDED) -> float:
    """Of the embedded sample's first tokens, in windows of `WINDOW`; `name` may be a folder."""
    model, tokenizer = _model(name)
    ids = tokenizer.encode(load_text(SAMPLE), add_special_tokens=False)
    nll, count = 0.0, 0
    for window in windows(ids, WINDOW, tokenizer.bos_token_id, max_tokens):
        text = torch.tensor([window])
        with torch.inference_mode():
            logits = model(text).logits[0, :-1].double()
        nll += torch.nn.functional.cross_entropy(logits, text[0, 1:], reduction="sum").item()
        count += len(window) - 1
    return float(torch.tensor(nll / count, dtype=torch.float64).exp())
