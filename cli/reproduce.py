"""`airsplit reproduce`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from airsplit.errors import InputError

EPILOG = """targets: table3 fig3 fig5 fig6 fig7 fig8 fig9 (default: all)

examples:
  airsplit reproduce --quick
  airsplit reproduce --reward reward_predictor.safetensors --out results
  airsplit reproduce fig3 fig7 --model meta-llama/Llama-2-7b-hf --dataset wikitext-2 --windows 8
  airsplit reproduce table3 fig5 --reward reward_predictor.pth --published-only --seeds 10 --json

Writes to --out of each figure a PNG and its data as CSV, and report.md and report.html, which judge
each of the paper's claims. What was measured and trained is kept there and not done again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from experiments.reproduce.config import ReproduceConfig

    fields = ReproduceConfig.__dataclass_fields__
    parser.epilog = EPILOG
    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help="what to make (default: all)")
    add("--quick", action="store_true",
        help="3 seeds, 6000 steps, fewer channels and windows: minutes on two cores")  # fmt: skip
    add("--seeds", type=int, metavar="N", help="of the trainings (default: 5)")
    add("--steps", type=int, metavar="N",
        help="environment steps of a training (default: 24000)")  # fmt: skip
    add("--out", type=Path, default=Path("reports/reproduce"), metavar="DIR",
        help="where it goes (default: %(default)s)")  # fmt: skip
    add("--reward", type=Path, metavar="FILE",
        help="the authors' reward model, .pth or .safetensors; without it their setting is left "
        "out")  # fmt: skip
    add("--published-only", action="store_true", help="leave out what is measured on a model")
    add("--records", type=Path, nargs="+", default=[], metavar="FILE",
        help="from airsplit collect, for the surrogates (default: they are collected)")  # fmt: skip
    add("--model", default=fields["model"].default,
        help="directory or hub id (default: %(default)s)")  # fmt: skip
    add("--dataset", default=fields["dataset"].default, metavar="NAME",
        help="sample, wikitext-2 or a text file (default: %(default)s)")  # fmt: skip
    add("--window", type=int, default=fields["window"].default, metavar="TOKENS",
        help="tokens of a window (default: %(default)s)")  # fmt: skip
    add("--windows", type=int, metavar="N", help="windows of a record (default: 4)")
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")
    add("--json", action="store_true", help="end with one line of JSON")


def run(args: argparse.Namespace) -> int:
    """Makes the targets; ends with the verdicts.

    Raises:
        InputError: a value is out of its range, or a file is not what it should be.
    """
    from experiments.reproduce.config import TARGETS, ReproduceConfig

    config = ReproduceConfig(
        out=args.out,
        targets=tuple(dict.fromkeys(args.targets)) or TARGETS,
        quick=args.quick,
        seeds=args.seeds,
        steps=args.steps,
        reward=args.reward,
        embedded=not args.published_only,
        records=tuple(args.records),
        model=args.model,
        dataset=args.dataset,
        window=args.window,
        windows=args.windows,
        workers=args.workers,
    )
    try:
        import stable_baselines3  # noqa: F401
    except ImportError as error:
        raise InputError(
            "stable-baselines3 is not installed: pip install 'airsplit[train]'"
        ) from error
    from experiments.reproduce.run import reproduce

    found = reproduce(config, _command(args), lambda line: print(line, file=sys.stderr))
    if args.json:
        print(json.dumps(found, allow_nan=False))
        return 0
    for claim in found["claims"]:
        print(f"{claim['verdict']:>9}  {claim['figure']}, {claim['setting']}: {claim['claim']}")
    print(f"{found['report']}, {found['seconds']:.0f} s")
    return 0


def _command(args: argparse.Namespace) -> str:
    """What to type for this again; of paths only the names, so that it says the same anywhere."""
    words = ["airsplit", "reproduce", *args.targets]
    words += ["--quick"] if args.quick else []
    words += ["--published-only"] if args.published_only else []
    for name in ("seeds", "steps", "window", "windows"):
        value = getattr(args, name)
        if value is not None and (name != "window" or value != 256):
            words += [f"--{name}", str(value)]
    words += ["--reward", args.reward.name] if args.reward else []
    words += ["--records", *(path.name for path in args.records)] if args.records else []
    return shlex.join([*words, "--model", args.model, "--dataset", args.dataset])
