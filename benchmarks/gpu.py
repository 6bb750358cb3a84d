"""A model's split on one GPU against the same model whole: decode, prefill, and where time goes.

A random Llama of a given shape (default: 7B's) is made on the spot and run in one dtype by

- `split`: the UE in this process and the edge in another, both on one device, through the emulator
  with an ideal channel;
- `unsplit`: transformers' own generate with a static cache, run as it is and, with `--compile`, as
  torch.compile makes it.

Rounds alternate and medians are compared. In front of the timing the split run's tokens are
compared with those of the same partition in one process, which have to be the same. Prints one JSON
object last. The default needs some 45 GB of GPU memory (the model three times) and 14 GB of disk;
`--shape tiny --device cpu` runs anywhere and says nothing about speed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from decode import split
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from airsplit.checkpoint import Checkpoint
from airsplit.frames import Task
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition, parse_device
from airsplit.telemetry import STAGES, TokenTrace
from airsplit.tensor_codec import DTYPES
from experiments.stack import Stack, start_services
from ue_client.generate import PREFILL_CHUNK_TOKENS
from ue_client.link import Link

SEED = 0

SHAPES: dict[str, dict[str, Any]] = {
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32000,
        "max_position_embeddings": 4096,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
        "max_position_embeddings": 1024,
    },
}


def make(folder: Path, shape: str, dtype: torch.dtype) -> Path:
    """A checkpoint with random weights, one file a layer, so that no more is held in memory."""
    config = LlamaConfig(
        **SHAPES[shape], tie_word_embeddings=False, bos_token_id=0, eos_token_id=None
    )
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    generator = torch.Generator().manual_seed(SEED)
    weight_map: dict[str, str] = {}
    files: dict[str, dict[str, torch.Size]] = {}
    for name, parameter in model.named_parameters():
        layer = name.split(".")[2] if ".layers." in name else "ends"
        files.setdefault(f"model-{layer}.safetensors", {})[name] = parameter.shape
    for file, shapes in files.items():
        tensors = {
            name: torch.ones(size, dtype=dtype)
            if name.endswith("norm.weight")
            else (torch.randn(size, generator=generator) * 0.02).to(dtype)
            for name, size in shapes.items()
        }
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


class Unsplit:
    """transformers' generate with a static cache."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        self._model = model.to(device).eval()

    def run(self, prompt: list[int], tokens: int, compiled: bool) -> float:
        """Seconds for `tokens` new tokens after `prompt`."""
        ids = torch.tensor([prompt], device=self._device)
        started = time.perf_counter()
        self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            cache_implementation="static",
            disable_compile=not compiled,
            pad_token_id=0,
        )
        _wait(self._device)
        return time.perf_counter() - started


def whole_tokens(partition: ModelPartition, prompt: list[int], tokens: int) -> list[int]:
    """Greedy tokens of the partition in one process, in the split run's own chunks."""
    cache = partition.new_cache(len(prompt) + tokens)
    layers, found = LayerRange(0, partition.facts.layers), list[int]()
    pending, position = prompt, 0
    while len(found) < tokens:
        for start in range(0, len(pending), PREFILL_CHUNK_TOKENS):
            piece = torch.tensor(pending[start : start + PREFILL_CHUNK_TOKENS])
            hidden = partition.run(partition.embed(piece), layers, cache, position)
            position += len(piece)
        found.append(int(partition.logits(hidden[:, -1:])[0].argmax()))
        pending = found[-1:]
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _median_rates(seconds: dict[str, list[tuple[float, float]]], tokens: int) -> dict[str, Any]:
    """Of (seconds of prompt and one token, seconds of prompt and all tokens)."""
    rates = {}
    for name, rounds in seconds.items():
        prefill = statistics.median(first for first, _ in rounds)
        decode = statistics.median(whole - first for first, whole in rounds)
        rates[name] = {
            "prefill_ms": round(prefill * 1e3, 3),
            "decode_tokens_per_second": round((tokens - 1) / decode, 2),
        }
    return rates


def compare(
    args: argparse.Namespace, folder: Path, device: torch.device, dtype: torch.dtype
) -> dict[str, Any]:
    """Both, in alternating rounds."""
    partition = ModelPartition(Checkpoint(folder), device=device, dtype=dtype)
    layers = partition.facts.layers
    at = layers // 2 if args.split is None else args.split
    generator = torch.Generator().manual_seed(SEED)
    vocabulary = partition.facts.vocab_size
    prompt = torch.randint(vocabulary, (args.prompt,), generator=generator).tolist()
    expected = whole_tokens(partition, prompt, args.tokens)
    unsplit = Unsplit(folder, device, dtype)
    runs: dict[str, Callable[[int], float]] = {
        "unsplit": lambda tokens: unsplit.run(prompt, tokens, compiled=False)
    }
    if args.compile:
        runs["unsplit_compiled"] = lambda tokens: unsplit.run(prompt, tokens, compiled=True)
    seconds: dict[str, list[tuple[float, float]]] = {}
    traces: list[TokenTrace] = []
    prefills: list[list[TokenTrace]] = []
    edge = ["--model", str(folder), "--device", args.device, "--dtype", args.dtype]
    with Stack() as stack:
        addresses = start_services(stack, channel="ideal", seed=SEED, edge_arguments=edge)
        with Link(addresses.edge) as link:
            for n in range(args.rounds + 1):
                first_rate, _, first_traces = split(partition, link, prompt, 1, at)
                rate, tokens, round_traces = split(partition, link, prompt, args.tokens, at)
                if tokens != expected:
                    raise SystemExit("the split run's tokens are not those of the whole partition")
                times = {"split": (1 / first_rate, args.tokens / rate)}
                times |= {name: (run(1), run(args.tokens)) for name, run in runs.items()}
                if n:  # the first one warms up
                    for name, pair in times.items():
                        seconds.setdefault(name, []).append(pair)
                    prefills.append(first_traces)
                    traces += [t for t in round_traces if t.task == _SAMPLE and t.tokens == 1]
    rates = _median_rates(seconds, args.tokens)
    in_two, whole_model = rates["split"], rates["unsplit"]
    per_second, prefill = "decode_tokens_per_second", "prefill_ms"
    return {
        **rates,
        "decode_ratio": round(in_two[per_second] / whole_model[per_second], 4),
        "prefill_ratio": round(whole_model[prefill] / in_two[prefill], 4),
        "decode_stages_ms": {
            stage: round(statistics.median(getattr(t, f"{stage}_ms") for t in traces), 4)
            for stage in (*STAGES, "total")
        },
        # Frames of a prompt overlap, so that stages add up to more than the prompt took.
        "prefill_stages_ms": {
            stage: round(
                statistics.median(sum(getattr(t, f"{stage}_ms") for t in run) for run in prefills),
                4,
            )
            for stage in STAGES
        },
        "tokens_equal": True,
        "split_layer": at,
        "layers": layers,
    }


_SAMPLE = Task.Name(Task.TASK_SAMPLE).removeprefix("TASK_").lower()


def _configuration(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    cuda = device.type == "cuda"
    return {
        **{name: value for name, value in vars(args).items() if name != "json"},
        "seed": SEED,
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name(device) if cuda else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shape", choices=SHAPES, default="7b", help="of the model (default 7b)")
    parser.add_argument("--model", type=Path, help="a folder with a checkpoint, instead of --shape")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, cpu (default cuda)")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16", help="default bf16")
    parser.add_argument("--split", type=int, help="layers at the UE (default L / 2)")
    parser.add_argument("--prompt", type=int, default=512, help="tokens (default 512)")
    parser.add_argument("--tokens", type=int, default=128, help="new ones a round (default 128)")
    parser.add_argument("--rounds", type=int, default=5, help="of each (default 5)")
    parser.add_argument("--compile", action="store_true", help="also unsplit with torch.compile")
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    args = parser.parse_args()
    if args.tokens < 2 or args.prompt < 1 or args.rounds < 1:
        parser.error("--tokens at least 2, --prompt and --rounds at least 1")
    device, dtype = parse_device("--device", args.device), DTYPES[args.dtype]
    with tempfile.TemporaryDirectory() as made:
        folder = args.model or make(Path(made), args.shape, dtype)
        AutoConfig.from_pretrained(folder)
        found = compare(args, folder, device, dtype)
    found["configuration"] = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in _configuration(args, device).items()
    }
    if not args.json:
        for name in ("split", "unsplit", "unsplit_compiled"):
            if name in found:
                print(f"{name}: {found[name]}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
