"""Policies side by side over real processes: the same text, the same channel, another split.

Each run has an emulator and a controller of its own; the edge, which keeps nothing between
sessions, serves all of them, and this process is the UE.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airsplit.checkpoint import Checkpoint, locate
from airsplit.errors import AirSplitError, InputError
from airsplit.perplexity import Perplexity
from airsplit.telemetry import percentiles
from controller.learning.flops import counted_layer_flops, layer_flops
from controller.policy import FixedPolicy, ModelId
from controller.registry import parse_policy
from controller.stored import parse_json
from experiments.live_plan import CLEAN, FIXED, FORMAT, RUNS_FILE, Plan, Run
from experiments.stack import Stack
from ue_client.config import AUTO, UeConfig
from ue_client.records import Answer
from ue_client.tasks import run_score
from ue_client.ue import Ue

DECISIONS = "decisions"
"""Folder of the decision logs, one a run."""

WAIT_S = 10.0
"""Longest wait of the UE for a decision, seconds: long enough that none is ever missed."""

THREADS = 1
"""torch threads of UE and edge each: as many as change no sum."""

Record = dict[str, Any]


def compare(plan: Plan, folder: Path, say: Callable[[str], None] = print) -> list[Record]:
    """Makes the runs of a plan that `folder` does not have yet; returns all of them, in order.

    runs.jsonl gets a line at the end of each run, so that a kill loses one run at most.

    Raises:
        InputError: the folder holds another plan's runs, or cannot be written; a split that the
            model does not have.
        ModelMismatchError: a policy is for another model.
        AirSplitError: a process did not start, or a run failed.
    """
    require_fit(plan)
    plan.write(folder)
    (folder / DECISIONS).mkdir(exist_ok=True)
    found = read_runs(folder / RUNS_FILE)
    runs = list(plan.runs())
    missing = [(number, run) for number, run in enumerate(runs) if run.key not in found]
    if missing:
        with edge_for(plan) as edge:
            for number, run in missing:
                say(f"run {number + 1} of {len(runs)}: {run.scenario}, {run.policy}, {run.seed}")
                log = folder / DECISIONS / f"{number:05d}.jsonl"
                log.unlink(missing_ok=True)  # of a run that was killed
                record = perform(plan, run, edge, log)
                found[run.key] = record
                _append(folder / RUNS_FILE, record)
    return [found[run.key] for run in runs]


def require_fit(plan: Plan) -> None:
    """A policy that does not fit would hold its split all along, as if it had chosen to.

    Raises:
        ModelMismatchError: a policy is for another model.
        InputError: a split that the model does not have.
    """
    layers = int(Checkpoint(locate(plan.model)).config.num_hidden_layers)
    for text in plan.policies:
        policy = parse_policy(plan.served(text))
        policy.check(ModelId(plan.model, layers))
        if isinstance(policy, FixedPolicy) and policy.split > layers:
            raise InputError.of("--policy", text, f"{FIXED}0 to {FIXED}{layers}")


def read_runs(path: Path) -> dict[tuple[str, str, int], Record]:
    """The runs that are there, by scenario, policy and seed; a last line cut short is removed.

    Raises:
        InputError: a line is not such a record.
    """
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    found = {}
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            record = parse_json(line)
            if record["format"] != FORMAT:
                raise InputError.of(f"{path}:{number}: format", record["format"], FORMAT)
            found[Run(record["scenario"], record["policy"], record["seed"]).key] = record
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}:{number}: is not a run: {error}") from error
    return found


@contextmanager
def edge_for(plan: Plan) -> Iterator[str]:
    """An edge process for all runs; yields its address."""
    with Stack() as stack:
        edge = stack.launch(
            "edge server",
            "edge_server",
            # One frame at a time, so that none waits behind another and a decision is never late.
            ["--model", plan.model, "--threads", str(THREADS), "--credits", "1"],
        )
        edge.wait_listening()
        yield edge.address


def perform(plan: Plan, run: Run, edge: str, log: Path) -> Record:
    """One run.

    Raises:
        AirSplitError: a process did not start, or a peer is gone.
    """
    started = time.monotonic()
    with Stack() as stack:
        controller = _controller(plan, run, stack, log)
        attach = ["--controller", controller] if controller else []
        emulator = stack.launch(
            "channel emulator",
            "channel_emulator",
            ["--edge", edge, "--channel", plan.channel(run), "--seed", str(run.seed), *attach],
        )
        emulator.wait_listening()
        config = UeConfig(
            edge=emulator.address,
            controller=controller,
            model=plan.model,
            split=AUTO if controller else run.policy.removeprefix(FIXED),
            seed=run.seed,
            threads=THREADS,
            decision_wait_s=WAIT_S,
        )
        course = Course()
        with Ue(config) as ue:
            result = run_score(ue, _job(plan), course.take)
            heads, facts = int(ue.partition.config.num_attention_heads), ue.partition.facts
            counted = counted_layer_flops(ue.partition, 0, plan.window)
        stack.require_running()
    by_equation = layer_flops(plan.window, facts.hidden_size, heads)
    return {
        "format": FORMAT,
        "scenario": run.scenario,
        "policy": run.policy,
        "seed": run.seed,
        "layers": facts.layers,
        "tokens": result["tokens"],
        "nll_sum": result["nll_sum"],
        "perplexity": result["perplexity"],
        **course.summary(),
        "ue_flops": by_equation / plan.window * course.layer_tokens,
        "ue_flops_counted": counted / plan.window * course.layer_tokens,
        "reasons": dict(_looks(log, plan, course)) if controller else {},
        "measured": (result["channel"] or {}).get("measured"),
        "course": course.frames,
        "seconds": round(time.monotonic() - started, 2),
    }


@dataclass
class Course:
    """What a run went through, frame by frame."""

    tokens: int = 0
    layer_tokens: int = 0
    """Tokens times the layers that the UE ran on them."""

    handoff_bytes: int = 0
    switches: int = 0
    uplink_bytes: int = 0
    ms: list[float] = field(default_factory=list)
    """Of each frame, a move of the split before it included, per token."""

    air_ms: list[float] = field(default_factory=list)
    """Part of it on the emulated air: airtime, propagation, jitter, both ways."""

    frames: list[Record] = field(default_factory=list)

    def take(self, answer: Answer, total: Perplexity) -> None:
        """Takes an answered frame in."""
        trace, tokens = answer.trace, answer.frame.token_count
        gap_ms = 0.0
        if answer.switch is not None:
            self.switches += 1
            self.handoff_bytes += answer.switch.bytes
            gap_ms = answer.switch.gap_ms
        self.tokens += tokens
        self.layer_tokens += tokens * trace.split
        self.uplink_bytes += trace.uplink_bytes
        self.ms.append((trace.total_ms + gap_ms) / tokens)
        self.air_ms.append((trace.uplink_ms + trace.downlink_ms) / tokens)
        truth = (trace.channel or {}).get("truth", {})
        self.frames.append(
            {
                "tokens": tokens,
                "split": trace.split,
                "scored": len(answer.nll),
                "nll_sum": round(sum(answer.nll), 5),
                **{name: truth.get(name) for name in ("sigma", "loss", "snr_db")},
            }
        )

    def summary(self) -> Record:
        """Its quantities for runs.jsonl."""
        return {
            "mean_split": self.layer_tokens / self.tokens,
            "switches": self.switches,
            "handoff_bytes": self.handoff_bytes,
            "uplink_bytes": self.uplink_bytes,
            "ms_per_token": percentiles(self.ms),
            "air_ms_per_token": percentiles(self.air_ms),
        }


def _controller(plan: Plan, run: Run, stack: Stack, log: Path) -> str | None:
    """The address of the run's controller; None where the split is pinned."""
    if run.scenario == CLEAN or run.policy.startswith(FIXED):
        return None
    controller = stack.launch(
        "controller",
        "controller",
        [
            *("--policy", plan.served(run.policy), "--decision-log", str(log)),
            *("--decision-interval-tokens", str(plan.decision_interval_tokens)),
            *("--confirmations", str(plan.confirmations)),
            # Nothing that hangs on the wall clock.
            *("--min-dwell-ms", "0", "--smoothing-ms", "0"),
        ],
    )
    controller.wait_listening()
    return controller.address


def _job(plan: Plan) -> argparse.Namespace:
    return argparse.Namespace(
        dataset=plan.dataset,
        window=plan.window,
        max_tokens=plan.max_tokens,
        chunk=plan.chunk,
        traces=None,
    )


def _looks(log: Path, plan: Plan, course: Course) -> Counter[str]:
    """How often the controller gave which reason; every look that was due has to be there.

    Raises:
        AirSplitError: one was missed, so that the run would not repeat.
    """
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    reasons = Counter(event["reason"] for event in events if event["event"] == "decision")
    due, offset = 0, 0
    for frame in course.frames:
        before, offset = offset, offset + frame["tokens"]
        due += offset // plan.decision_interval_tokens > before // plan.decision_interval_tokens
    if reasons.total() != due:
        raise AirSplitError(f"the controller looked {reasons.total()} times; {due} were due")
    return reasons


def _append(path: Path, record: Record) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, allow_nan=False) + "\n")
