"""What a live comparison is to run: decided and written down before the first run. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from airsplit.checkpoint import EMBEDDED, Checkpoint, locate
from airsplit.errors import InputError
from channel_emulator.scenario import SCENARIOS, Scenario, load_scenario
from controller.decisions import Settings
from controller.learning.reward import RewardForm
from controller.registry import DEFAULT_DIRECTORY, DEFAULT_TABLE, PLANNED, parse_policy
from controller.stored import parse_json

FORMAT = "airsplit-live/2"
PLAN_FILE = "plan.json"
RUNS_FILE = "runs.jsonl"

FOLDER = Path(__file__).parent / "scenarios"
ABSOLUTE = ("burst", "swell", "flicker")
"""Scenarios of absolute noise, made for this comparison."""

CLEAN = "ideal"
"""The run that the others are measured against has no channel."""

FIXED = "fixed:"
PUBLISHED = (".pth", ".safetensors")
"""Reward models that have a lambda of their own."""


def scenario_path(name: str) -> str:
    """What an emulator's `--channel` calls it: a shipped name, or a TOML file.

    Raises:
        InputError: there is no such scenario.
    """
    if name in ABSOLUTE:
        return str(FOLDER / f"{name}.toml")
    if name not in SCENARIOS and not name.endswith(".toml"):
        allowed = "|".join((*ABSOLUTE, *SCENARIOS, "FILE.toml"))
        raise InputError.of("--scenario", name, allowed)
    return name


@dataclass(frozen=True, slots=True)
class Run:
    """One text over one channel under one policy."""

    scenario: str
    policy: str
    seed: int
    """Of the channel's draws: the same seed meets the same channel, whatever the policy."""

    @property
    def key(self) -> tuple[str, str, int]:
        return self.scenario, self.policy, self.seed


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the numbers depend on, apart from the machine.

    Raises:
        InputError: a value is out of its range, or something is there twice.
    """

    policies: tuple[str, ...]
    """As of `--policy` of a controller; `fixed:P` is held from the first token."""

    scenarios: tuple[str, ...]
    seeds: tuple[int, ...]
    reference: str
    """The policy that differences are taken to."""

    model: str = EMBEDDED
    dataset: str = "sample"
    window: int = 512
    chunk: int = 8
    """Tokens of a frame; the split can move between two. Estimates of the channel go back some
    frames, so that long ones make them late."""

    max_tokens: int = 2048
    cost_weight: float = 0.1
    """lambda of Eq. 8."""

    form: RewardForm = RewardForm.SHARE
    decision_interval_tokens: int = 16
    confirmations: int = 1
    token_interval_ms: float | None = None
    """Radio time of a token; None: as long as it takes for the text to last for the scenario."""

    def __post_init__(self) -> None:
        for flag, values in (
            ("--policy", self.policies),
            ("--scenario", self.scenarios),
            ("--seeds", self.seeds),
        ):
            if not values or len(set(values)) < len(values):
                raise InputError.of(flag, " ".join(map(str, values)), "one or more, each once")
        if self.reference not in self.policies:
            raise InputError.of("--reference", self.reference, ", ".join(self.policies))
        for flag, value, least in (
            ("--window", self.window, 2),
            ("--chunk", self.chunk, 1),
            ("--max-tokens", self.max_tokens, 1),
            ("--decision-interval-tokens", self.decision_interval_tokens, 1),
            ("--lambda", self.cost_weight, 0),
        ):
            if not least <= value < 10**9:
                raise InputError.of(flag, value, f"{least}-1000000000")
        if any(not 0 <= seed < 2**63 for seed in self.seeds):
            raise InputError.of("--seeds", self.seeds, "0 to 2^63 - 1")
        interval_ms = self.token_interval_ms
        if interval_ms is not None and not 0.001 <= interval_ms <= 10_000:
            raise InputError.of("--token-interval-ms", interval_ms, "0.001-10000")
        Settings(confirmations=self.confirmations)
        for policy in self.policies:
            parse_policy(self.served(policy))
        for name in self.scenarios:
            load_scenario(scenario_path(name))

    def runs(self) -> Iterator[Run]:
        """Without a channel first, then one channel after the other, every policy on each."""
        yield Run(CLEAN, f"{FIXED}0", 0)  # any split: a clean channel changes nothing
        for scenario in self.scenarios:
            for seed in self.seeds:
                for policy in self.policies:
                    yield Run(scenario, policy, seed)

    def served(self, policy: str) -> str:
        """The controller's `--policy`: one that plans does so for this lambda and form, unless it
        says otherwise."""
        head, *options = policy.split(",")
        if head.partition(":")[0] not in PLANNED or head.endswith(PUBLISHED):
            return policy
        given = {option.partition("=")[0] for option in options}
        ours = {"lambda": f"{self.cost_weight:g}", "form": self.form.value}
        return ",".join([policy, *(f"{k}={v}" for k, v in ours.items() if k not in given)])

    def channel(self, run: Run) -> str:
        """The emulator's `--channel`."""
        if run.scenario == CLEAN:
            return CLEAN
        scenario = load_scenario(scenario_path(run.scenario))
        interval_ms = self.token_interval_ms or self._fitting_interval_ms(scenario)
        return f"{scenario_path(run.scenario)},token_interval_ms={interval_ms:g}"

    def _fitting_interval_ms(self, scenario: Scenario) -> float:
        return float(f"{scenario.duration_ns / 1e6 / self.max_tokens:.4g}")

    def to_dict(self) -> dict[str, Any]:
        """For plan.json, with digests of what model, scenarios and policies are made of."""
        scenarios = {n: load_scenario(scenario_path(n)) for n in self.scenarios}
        made_of = {policy: _files(policy) for policy in self.policies}
        channels = {name: self.channel(Run(name, "", 0)) for name in self.scenarios}
        return {
            "format": FORMAT,
            **json.loads(json.dumps(asdict(self))),
            "channels": {name: Path(channel).name for name, channel in channels.items()},
            "model_fingerprint": Checkpoint(locate(self.model)).fingerprint,
            "scenario_sha256": {n: _digest(_parts(s)) for n, s in scenarios.items()},
            "policy_sha256": {p: _digest(files) for p, files in made_of.items() if files},
        }

    def write(self, folder: Path) -> None:
        """Writes plan.json, or finds it there as it would be written.

        Raises:
            InputError: the folder holds another plan's runs, or cannot be written.
        """
        path, record = folder / PLAN_FILE, self.to_dict()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            found = parse_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"--out: {path}: {error.strerror}") from error
        except ValueError as error:
            raise InputError(f"--out: {path} is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise InputError(f"--out: {path} is not a plan but a {type(found).__name__}")
        differing = sorted(key for key in record if found.get(key) != record[key])
        if differing:
            raise InputError(
                f"--out: {folder} holds runs of another plan ({', '.join(differing)} differ); "
                "allowed: the same plan, or another folder"
            )


def _parts(scenario: Scenario) -> list[bytes]:
    """What a scenario does to the channel, its capacity traces included."""
    traces = [trace for trace in (scenario.uplink, scenario.downlink) if trace is not None]
    numbers = [part.tobytes() for trace in traces for part in (trace.time_ns, trace.bits)]
    return [repr(scenario.changes).encode(), *numbers]


def _files(policy: str) -> list[bytes]:
    """The contents of what a policy is read from; empty where it is all in its name."""
    path = _source(policy)
    if path is None:
        return []
    paths = sorted(path.glob("*.*")) if path.is_dir() else [path]
    return [file.read_bytes() for file in paths if file.is_file()]


def _source(policy: str) -> Path | None:
    """Where a policy is read from, as `parse_policy` finds it."""
    head, _, source = policy.partition(",")[0].partition(":")
    if head == "ppo":
        return Path(source) if source else DEFAULT_DIRECTORY
    if head in PLANNED:
        return Path(source) if source else DEFAULT_TABLE
    if head in ("fixed", "random", "threshold"):
        return Path(source) if head == "threshold" and source else None
    return Path(policy)


def _digest(parts: list[bytes]) -> str:
    return sha256(b"".join(parts)).hexdigest()[:16]
