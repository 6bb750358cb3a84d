"""`airsplit train surrogate`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from airsplit.errors import InputError
from controller.learning.records import read_records
from controller.learning.surrogate_config import SurrogateConfig

EPILOG = """examples:
  airsplit train surrogate --records fading.jsonl --out surrogate
  airsplit train surrogate --records host1.jsonl host2.jsonl --out surrogate --folds 10 --json
  airsplit train surrogate --records loss.jsonl --out surrogate-loss --hidden 64 64 --seed 1
"""

_NAMES = tuple(field.name for field in fields(SurrogateConfig))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    defaults = asdict(SurrogateConfig())
    parser.set_defaults(**{**defaults, "hidden": list(defaults["hidden"])})
    add = parser.add_argument
    add("--records", type=Path, nargs="+", required=True, metavar="FILE",
        help="from airsplit collect, all of one model and text")  # fmt: skip
    add("--out", type=Path, required=True, metavar="DIR", help="where the surrogate goes")
    add("--hidden", type=int, nargs="+", metavar="N",
        help="sizes of the hidden layers (default: 128 128)")  # fmt: skip
    for flag, help_ in (
        ("--folds", "K of the cross-validation over channels"),
        ("--epochs", "most passes over the records"),
        ("--patience", "epochs without a better fold after which its training stops"),
        ("--batch-size", "records of a gradient step"),
        ("--seed", "of what is held out, the first weights and the order"),
    ):
        add(flag, type=int, metavar="N", help=f"{help_} (default: %(default)s)")
    add("--lr", dest="learning_rate", type=float, metavar="X",
        help="learning rate of Adam (default: %(default)s)")  # fmt: skip
    add("--test-share", type=float, metavar="X",
        help="share of the channels held out for the test (default: %(default)s)")  # fmt: skip
    add("--json", action="store_true", help="end with one line of JSON")


def run(args: argparse.Namespace) -> int:
    """Trains, writes DIR, and ends with the scores.

    Raises:
        InputError: a value is out of its range, a record is not one, or there are too few.
    """
    from controller.learning.train_surrogate import train_surrogate

    given = {name: getattr(args, name) for name in _NAMES}
    config = SurrogateConfig(**{**given, "hidden": tuple(args.hidden)})
    if args.out.exists() and not args.out.is_dir():
        raise InputError.of("--out", str(args.out), "a directory, or one to be made")
    surrogate = train_surrogate(read_records(args.records), config, _progress)
    record = {"command": _command(args), **surrogate.record}
    replace(surrogate, record=record).save(args.out)
    test, unseen = record["scores"]["test"], record["scores"]["test_unseen_splits"]
    summary = {
        "test_mse": test["mse"],
        "test_mae": test["mae"],
        "test_r2": test["r2"],
        "test_mae_nll": test["mae_nll"],
        "test_monte_carlo_nll": test["monte_carlo_nll"],
        "test_mae_perplexity": test["mae_perplexity"],
        "unseen_splits_r2": unseen and unseen["r2"],
        "unseen_splits_mae_nll": unseen and unseen["mae_nll"],
        "linear_mae_nll": record["scores"]["baselines"]["linear"]["mae_nll"],
        "records": record["records"],
        "channels": record["channels"],
        "test_channels": record["test_channels"],
        "epochs": record["epochs"],
        "seconds": record["seconds"],
        "out": str(args.out),
    }
    print(json.dumps(summary, allow_nan=False) if args.json else _words(record))
    return 0


def _progress(line: str) -> None:
    print(line, file=sys.stderr)


def _words(record: dict[str, Any]) -> str:
    scores = record["scores"]
    rows = {
        "held-out channels": scores["test"],
        "and splits never seen": scores["test_unseen_splits"],
        **{f"instead: {name}": found for name, found in scores["baselines"].items()},
    }
    lines = [
        f"{name:<22} R2 {_number(found['r2'])}  MSE {found['mse']:.5f}  MAE {found['mae']:.4f}  "
        f"NLL off by {found['mae_nll']:.4f} nats, "
        f"{_number(found['mae_over_monte_carlo'])} times the records' own error"
        for name, found in rows.items()
        if found
    ]
    lines.append(
        f"{record['records']} records of {record['channels']} channels, "
        f"{record['test_channels']} of them held out; MSE and MAE in standard deviations of the "
        f"NLL; {record['seconds']:.0f} s"
    )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _command(args: argparse.Namespace) -> str:
    """What to type for this surrogate again."""
    words = ["airsplit", "train", "surrogate", "--records", *map(str, args.records)]
    for name, default in asdict(SurrogateConfig()).items():
        value = getattr(args, name)
        several = list(value) if name == "hidden" else [value]
        if several != (list(default) if name == "hidden" else [default]) or name == "seed":
            flag = "--lr" if name == "learning_rate" else "--" + name.replace("_", "-")
            words += [flag, *map(str, several)]
    return shlex.join([*words, "--out", str(args.out)])
