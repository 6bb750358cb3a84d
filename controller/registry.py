"""From `--policy` to a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airsplit.errors import InputError
from controller.network import CONFIG_FILE, load_policy
from controller.policy import FixedPolicy, Policy, ThresholdPolicy
from controller.stored import parse_json

if TYPE_CHECKING:  # a controller that serves a network needs no more than it
    from controller.learning.reward import Reward

DEFAULT_DIRECTORY = Path(__file__).resolve().parent / "assets" / "airsplit-tiny"
"""The embedded policy, trained on the embedded model."""

DEFAULT_TABLE = DEFAULT_DIRECTORY / "table.json"
"""What the embedded policy was trained on."""

FORMS = (
    "fixed:P, threshold[:FILE.json], ppo[:DIR], DIR, random[:SEED], greedy[:FROM], optimal[:FROM]"
)
"""DIR holds a trained policy, of whatever algorithm. FROM is what perplexity is read from: a
surrogate's folder, a table's JSON, or a published reward model's weights; the embedded table by
default. Options follow as `,KEY=VALUE`: `PLANNED`."""

PLANNED = ("greedy", "optimal")
"""These look rewards up: options lambda, form, moves (u), move-cost, as the reward's own names."""


def parse_policy(text: str, field: str = "--policy") -> Policy:
    """The policy of a command-line value, one of `FORMS`.

    Raises:
        InputError: not of these forms, or its file is not what it should be.
    """
    kind, separator, argument = text.partition(":")
    if separator and not argument:
        raise InputError.of(field, text, FORMS)
    if kind == "fixed" and argument.isdecimal():
        return FixedPolicy(int(argument))
    if kind == "threshold":
        return load_threshold(Path(argument)) if argument else ThresholdPolicy()
    if kind == "ppo":
        return load_policy(Path(argument) if argument else DEFAULT_DIRECTORY, text)
    if text and (Path(text) / CONFIG_FILE).is_file():
        return load_policy(Path(text), text)
    head, *options = text.split(",")
    kind, _, source = head.partition(":")
    if kind == "random" and (source.isdecimal() or not source):
        return _random(field, source, options)
    if kind in PLANNED:
        return _planned(field, text, kind, source, options)
    raise InputError.of(field, text, FORMS)


def _random(field: str, seed: str, options: Sequence[str]) -> Policy:
    from controller.learning.baselines import RandomPolicy

    given = _options(field, options, ("moves",))
    return RandomPolicy(seed=int(seed or 0), max_move=_moves(field, given.get("moves", "2")))


def _planned(field: str, text: str, kind: str, source: str, options: Sequence[str]) -> Policy:
    from controller.learning.baselines import GreedyPolicy, OptimalPolicy

    given = _options(field, options, ("lambda", "form", "moves", "move-cost"))
    path = Path(source) if source else DEFAULT_TABLE
    reward = load_reward(field, path, given)
    move_cost = _number(field, "move-cost", given.get("move-cost", "0"))
    moves = given.get("moves")
    if kind == "greedy":
        max_move = None if moves is None else _moves(field, moves)
        return GreedyPolicy(reward, max_move=max_move, move_cost=move_cost, name=text)
    return OptimalPolicy(
        reward, max_move=_moves(field, moves or "2"), move_cost=move_cost, name=text
    )


def load_reward(field: str, path: Path, options: Mapping[str, str]) -> Reward:
    """What a policy that plans looks rewards up in.

    Raises:
        InputError: no such source, or lambda or form on a reward that has its own.
    """
    from controller.learning.published import PublishedReward
    from controller.learning.quality import Quality, TableQuality
    from controller.learning.reward import ObjectiveReward, RewardForm
    from controller.table import PerplexityTable

    if path.suffix in (".pth", ".safetensors"):
        if {"lambda", "form"} & set(options):
            raise InputError(f"{field}: lambda, form: a published reward has its own")
        return PublishedReward.load(path)
    quality: Quality
    if path.is_dir():
        from controller.learning.surrogate import Surrogate

        quality = Surrogate.load(path)
    else:
        quality = TableQuality(PerplexityTable.load(path))
    form = options.get("form", RewardForm.SHARE)
    if form not in {*RewardForm}:
        raise InputError.of(f"{field}: form", form, ", ".join(RewardForm))
    weight = _number(field, "lambda", options.get("lambda", "0.1"))
    return ObjectiveReward(quality, cost_weight=weight, form=RewardForm(form))


def _options(field: str, options: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for option in options:
        name, separator, value = option.partition("=")
        if not separator or name not in known or name in found:
            raise InputError.of(
                f"{field}: option", option, "=..., ".join(known) + "=..., each once"
            )
        found[name] = value
    return found


def _number(field: str, name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError.of(f"{field}: {name}", text, "a number") from None


def _moves(field: str, text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 1000):
        raise InputError.of(f"{field}: moves", text, "1-1000, the most layers a decision may move")
    return int(text)


def load_threshold(path: Path) -> ThresholdPolicy:
    """A threshold table from JSON: {"measure": "sigma", "thresholds": [...], "splits": [...]}.

    Raises:
        InputError: the file cannot be read, or the table is not monotone.
    """
    try:
        table = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: is not JSON: {error}") from error
    keys = {"measure", "thresholds", "splits"}
    if not isinstance(table, dict) or set(table) != keys:
        found = sorted(table) if isinstance(table, dict) else type(table).__name__
        raise InputError.of(f"{path}: keys", found, ", ".join(sorted(keys)))
    try:
        thresholds = tuple(float(value) for value in table["thresholds"])
        splits = tuple(int(value) for value in table["splits"])
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
    try:
        return ThresholdPolicy(str(table["measure"]), thresholds, splits)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
