"""`airsplit evaluate --live`: policies side by side over real processes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from airsplit.checkpoint import EMBEDDED
from airsplit.errors import InputError
from controller.learning.reward import RewardForm
from controller.registry import FORMS
from experiments.live_plan import ABSOLUTE, FIXED, Plan

SUMMARY_FILES = ("summary.csv", "summary.md", "live-course.csv", "live.png")

EPILOG = """examples:
  airsplit evaluate --live --policy ppo threshold random --seeds 3 --out live
  airsplit evaluate --live --policy ppo greedy optimal --fixed 2 6 10 --scenario burst pedestrian \\
      --dataset wikitext-2 --max-tokens 4096 --lambda 0.2 --out live --json
  airsplit evaluate --live --policy ppo ppo:my-policy --reference ppo --scenario swell --out live
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All that a live comparison takes, besides --live."""
    defaults = Plan(("threshold",), ABSOLUTE, (0,), "threshold")
    parser.epilog = EPILOG
    add = parser.add_argument
    add("--policy", nargs="+", default=["ppo", "greedy", "optimal", "threshold", "random"],
        metavar="SPEC", help=f"{FORMS} (default: ppo greedy optimal threshold random)")  # fmt: skip
    add("--fixed", nargs="*", type=int, default=[1, 3, 5, 8, 11, 14], metavar="P",
        help="splits that are held, to find the best of (default: 1 3 5 8 11 14)")  # fmt: skip
    add("--reference", metavar="SPEC",
        help="policy that differences are taken to (default: the first)")  # fmt: skip
    add("--scenario", nargs="+", default=[*ABSOLUTE, "pedestrian"], metavar="NAME",
        help=f"{', '.join(ABSOLUTE)}: absolute noise; or a scenario of the channel emulator, or "
        f"FILE.toml (default: {' '.join(ABSOLUTE)} pedestrian)")  # fmt: skip
    add("--seeds", type=int, default=5, metavar="N",
        help="channels to meet: seeds 0..N-1, 1-1000 (default %(default)s)")  # fmt: skip
    add("--model", default=EMBEDDED, metavar="M", help="hub id, directory (default %(default)s)")
    add("--dataset", default=defaults.dataset, metavar="D",
        help="sample, wikitext-2, a text file or folder (default %(default)s)")  # fmt: skip
    add("--max-tokens", type=int, default=defaults.max_tokens, metavar="N",
        help="of the text, scored in every run (default %(default)s)")  # fmt: skip
    add("--window", type=int, default=defaults.window, metavar="TOKENS",
        help="context length (default %(default)s)")  # fmt: skip
    add("--chunk", type=int, default=defaults.chunk, metavar="TOKENS",
        help="of a frame; the split can move between two (default %(default)s)")  # fmt: skip
    add("--lambda", dest="cost_weight", type=float, default=defaults.cost_weight, metavar="X",
        help="of Eq. 8: what all layers on the UE cost (default %(default)s)")  # fmt: skip
    add("--form", choices=[*RewardForm], default=defaults.form,
        help="how perplexity becomes a cost (default %(default)s)")  # fmt: skip
    add("--decision-interval-tokens", type=int, default=defaults.decision_interval_tokens,
        metavar="N", help="tokens between two decisions (default %(default)s)")  # fmt: skip
    add("--confirmations", type=int, default=defaults.confirmations, metavar="K",
        help="looks in a row that have to want a move (default %(default)s)")  # fmt: skip
    add("--token-interval-ms", type=float, metavar="MS",
        help="of radio time (default: so that the text lasts for the scenario)")  # fmt: skip
    add("--out", type=Path, required=True, metavar="DIR",
        help="folder for plan.json, runs.jsonl (what is there is not run again), decisions/, "
        f"{', '.join(SUMMARY_FILES)}")  # fmt: skip
    add("--json", action="store_true", help="print one JSON object last on standard output")


def plan_of(args: argparse.Namespace) -> Plan:
    """Raises: InputError: a value is out of its range."""
    if not 1 <= args.seeds <= 1000:
        raise InputError.of("--seeds", args.seeds, "1-1000")
    policies = (*args.policy, *(f"{FIXED}{split}" for split in args.fixed))
    return Plan(
        policies=policies,
        scenarios=tuple(args.scenario),
        seeds=tuple(range(args.seeds)),
        reference=args.reference or policies[0],
        model=args.model,
        dataset=args.dataset,
        window=args.window,
        chunk=args.chunk,
        max_tokens=args.max_tokens,
        cost_weight=args.cost_weight,
        form=RewardForm(args.form),
        decision_interval_tokens=args.decision_interval_tokens,
        confirmations=args.confirmations,
        token_interval_ms=args.token_interval_ms,
    )


def run(args: argparse.Namespace) -> int:
    """Runs what is missing, then writes and prints the comparison.

    Raises:
        InputError: bad input, or a folder of another plan.
        AirSplitError: a process failed; what was done is kept.
    """
    plan = plan_of(args)
    from experiments import live_headroom, live_plots, live_summary  # matplotlib takes a second
    from experiments.live import compare

    records = compare(plan, args.out, lambda text: print(text, file=sys.stderr, flush=True))
    rows = live_summary.summarise(plan, records)
    page = live_summary.to_markdown(plan, rows, live_summary.clean_nll(records))
    page += live_headroom.to_markdown(live_headroom.headrooms(plan, records))
    (args.out / "summary.csv").write_text(live_summary.to_csv(rows), encoding="utf-8")
    (args.out / "summary.md").write_text(page, encoding="utf-8")
    courses = live_summary.course_csv(plan, records)
    (args.out / "live-course.csv").write_text(courses, encoding="utf-8")
    (args.out / "live.png").write_bytes(live_plots.draw(plan, rows, records))
    print(json.dumps(_result(args.out, rows), allow_nan=False) if args.json else page)
    return 0


def _result(folder: Path, rows: list[Any]) -> dict[str, Any]:
    """One object: the mean of each metric by scenario and policy, and who was the best fixed."""
    scenarios: dict[str, dict[str, Any]] = {}
    for row in rows:
        means = {name: round(interval.mean, 6) for name, interval in row.values.items()}
        difference = round(row.differences["objective"].mean, 6)
        scenarios.setdefault(row.scenario, {})[row.policy] = {
            **means,
            "objective_difference": difference,
            "best_fixed": row.best_fixed,
        }
    return {"out": str(folder), "scenarios": scenarios}
