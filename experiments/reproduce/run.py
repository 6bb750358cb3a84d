"""From what is asked for to the files: measure, train, judge, write. The order of the paper."""

from __future__ import annotations

import importlib
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from airsplit.errors import InputError
from experiments.collect import model_name
from experiments.reproduce import horizon, report
from experiments.reproduce.config import (
    Context,
    ReproduceConfig,
    Setting,
    measured_setting,
    published_setting,
)
from experiments.reproduce.measured import measure, recorded
from experiments.reproduce.result import Result
from experiments.reproduce.trainings import Trainings

NO_REWARD = (
    "Left out: the authors' reward model, since no --reward names its file; their setting "
    "(Table 3's 2.9736 and 2.9663) cannot be reproduced without it."
)


def reproduce(
    config: ReproduceConfig, command: str, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Writes every figure as PNG and CSV, `claims.csv`, `report.md` and `report.html` to `out`.

    What takes long is kept there by its configuration, and found again when run anew.

    Returns:
        For JSON: verdicts by figure, files, seconds.

    Raises:
        InputError: a file is not what it should be, or `out` cannot be written.
    """
    started = time.monotonic()
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out: {config.out} cannot be made: {error.strerror}") from error
    remarks = () if config.reward else (NO_REWARD,)
    for remark in remarks:
        progress(remark)
    trainings = Trainings(config.out / "trainings", config.worker_count, progress)
    context = Context(config, _settings(config, progress), trainings, progress)
    results = []
    for target in config.targets:
        progress(f"{target} ...")
        results.append(_make(target, context))
    for result in results:
        for picture in result.pictures:
            picture.write(config.out)
    told = report.Report(
        tuple(results), remarks, _explained(context), _configuration(config, command)
    )
    _write(config, told)
    return {
        "claims": [
            {"figure": name, "setting": claim.setting, "claim": claim.text,
             "verdict": claim.verdict.value}
            for name, claim in told.claims
        ],
        "report": str(config.out / "report.md"),
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip


def _make(target: str, context: Context) -> Result:
    module = importlib.import_module(f"experiments.reproduce.{target}")
    result: Result = module.make(context)
    return result


def _explained(context: Context) -> tuple[str, ...]:
    if not context.settings:
        return ()
    return (horizon.EXPLAINED, *map(horizon.paragraph, context.settings))


def _settings(config: ReproduceConfig, progress: Callable[[str], None]) -> tuple[Setting, ...]:
    """The authors' first. Fig. 3 alone needs none."""
    found = [] if config.reward is None else [published_setting(config.reward)]
    if config.embedded and set(config.targets) != {"fig3"}:
        measured = measure(config, progress)
        name = model_name(config.model)
        found.append(measured_setting(name, measured.table, measured.surrogates))
    return tuple(found)


def _configuration(config: ReproduceConfig, command: str) -> str:
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("airsplit", "torch", "stable-baselines3", "numpy")
    )
    measured = (
        f"model: {model_name(config.model)}, {config.window_count} windows of {config.window} "
        f"tokens of {config.dataset} a record (Fig. 3: six times as many)"
    )
    records = "given"
    if not config.records:
        records = "collected, as by " + " and ".join(recorded(config))
    return "\n".join([
        command,
        f"seeds: 0-{config.seed_count - 1}; {config.step_count} environment steps a training, "
        "evaluated every 1000" + ("; --quick" if config.quick else ""),
        *([measured, f"records of the surrogates: {records}"] if config.embedded else []),
        f"Python {platform.python_version()}, {versions}",
        f"{platform.machine()}, {os.cpu_count()} CPUs, {config.worker_count} workers",
    ])  # fmt: skip


def _write(config: ReproduceConfig, told: report.Report) -> None:
    from experiments.reproduce.result import csv_text

    fields = ("figure", "setting", "claim", "verdict", "why")
    claims = ((name, c.setting, c.text, c.verdict, c.why) for name, c in told.claims)
    rows = ((result.target, row.what, row.paper, row.ours, row.optimum)
            for result in told.results for row in result.rows)  # fmt: skip
    files = {
        "claims.csv": csv_text(fields, claims),
        "numbers.csv": csv_text(("target", "what", "paper", "ours", "optimum"), rows),
        "report.md": report.markdown(told),
        "report.html": report.page(told),
    }
    try:
        for name, text in files.items():
            (config.out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out: {config.out} cannot be written: {error.strerror}") from error
