"""`airsplit evaluate`: policies beside the optimum, or live over real processes."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airsplit.errors import InputError
from cli import rewards
from controller.features import Features
from controller.learning.environment import EnvironmentConfig, SplitVectorEnv
from controller.learning.optimum import LEVELS, NextSplits, Scorer, fraction, served
from controller.learning.reward import Reward
from controller.learning.rollout import Player, greedy, optimal, play, steady, uniform
from controller.network import CONFIG_FILE, NetworkPolicy, load_policy
from controller.policy import FixedPolicy, ThresholdPolicy, require_same
from controller.registry import parse_policy

FORMS = (
    "a trained policy's folder, random, untrained, fixed:P, threshold[:FILE.json], greedy, optimal"
)
OPTIMUM = "knows how the channel goes on"
UPPER_BOUND = "sees the UE's way to its end: an upper bound that no policy of the channel reaches"
BUILT_IN = ("random", "untrained", "fixed", "threshold", "greedy", "optimal")
EPILOG = """examples:
  airsplit evaluate --policy policy --episodes 1000
  airsplit evaluate --policy policy greedy optimal random fixed:8 --reward surrogate --case H
  airsplit evaluate --live --help
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """With --live everything else is that command's."""
    if "--live" in sys.argv:
        parser.add_argument("--live", action="store_true", required=True)
        importlib.import_module("cli.evaluate_live").add_arguments(parser)
        return
    parser.epilog = EPILOG
    add = parser.add_argument
    add("--live", action="store_true", help="compare over real processes; see --live --help")
    add("--policy", nargs="+", required=True, metavar="POLICY", help=FORMS)
    add("--reward", metavar="SOURCE",
        help=f"{rewards.SOURCES} (default: what the first trained policy learnt on)")  # fmt: skip
    add("--episodes", type=int, default=1000, metavar="N",
        help="played by each policy, all with the same chance (default: %(default)d)")  # fmt: skip
    add("--seed", type=int, default=0, metavar="S", help="of the episodes (default: 0)")
    add("--levels", type=int, metavar="N",
        help=f"channels per coordinate that the exact return enumerates (default: {LEVELS}, with "
        "--reward model 5)")  # fmt: skip
    add("--json", action="store_true", help="end with one line of JSON")
    rewards.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Scores each policy exactly, and on sampled episodes.

    Raises:
        InputError: a value is out of its range, or a file is not what it should be.
        ModelMismatchError: a policy is for another model than the reward.
    """
    if args.live:
        return int(importlib.import_module("cli.evaluate_live").run(args))
    started = time.monotonic()
    if not 0 <= args.seed < 2**32:
        raise InputError.of("--seed", args.seed, "0-4294967295")
    for text in args.policy:
        _require_known(text)
    trained = {text: Path(text) for text in args.policy if (Path(text) / CONFIG_FILE).is_file()}
    source = _take_over(args, [*trained.values()])
    reward = rewards.reward_of(source, args)
    environment = rewards.environment_of(reward, args)
    rewards.require_levels_matter(args, environment)
    levels = (5 if source == rewards.MODEL else LEVELS) if args.levels is None else args.levels
    if levels < 2:
        raise InputError.of("--levels", args.levels, "at least 2")
    setting = Setting(reward, environment, Scorer.of(reward, environment, levels), args.seed)
    entries = [setting.policy(text, trained.get(text)) for text in args.policy]
    found = [setting.evaluate(entry, args.episodes) for entry in entries]
    first = found[0]
    result = {
        **{name: first[name] for name in first if name != "policy"},
        "optimal_return": round(setting.scorer.optimal, 5),
        "optimum": UPPER_BOUND if environment.dynamics.hidden else OPTIMUM,
        "random_return": round(setting.scorer.random, 5),
        "episodes": args.episodes,
        "seed": args.seed,
        "reward": {"source": source, **reward.describe()},
        "environment": environment.to_dict(),
        "policies": found,
        "seconds": round(time.monotonic() - started, 3),
    }
    if args.json:
        print(json.dumps(result, allow_nan=False))
    else:
        _print(result)
    return 0


def _require_known(text: str) -> None:
    """Raises: InputError: it is neither a policy's folder nor a built-in."""
    if text.partition(":")[0] not in BUILT_IN and not (Path(text) / CONFIG_FILE).is_file():
        raise InputError.of("--policy", text, FORMS)


def _take_over(args: argparse.Namespace, trained: list[Path]) -> str:
    """The reward's source; without --reward flags that are not given are those of the training.

    Raises:
        InputError: there is no --reward, and no policy that tells of its own.
    """
    if args.reward is not None:
        return str(args.reward)
    for directory in trained:
        load_policy(directory)  # refuses what is no policy before anything of it is believed
        record = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
        if isinstance(source := record.get("source"), str):
            flags = record.get("flags", {})
            rewards.take_over(args, flags, f"{directory / CONFIG_FILE}: flags")
            return source
    raise InputError("--reward: is missing; allowed: none only with a policy that names its own")


@dataclass(frozen=True)
class Entry:
    """A policy to evaluate, twice."""

    name: str
    exact: NextSplits | None
    """For the enumeration; None where it is of another kind: chance, or counting the steps."""

    player: Player


@dataclass(frozen=True)
class Setting:
    """What policies are evaluated in."""

    reward: Reward
    environment: EnvironmentConfig
    scorer: Scorer
    seed: int

    def policy(self, text: str, directory: Path | None) -> Entry:
        """Raises: InputError: no such policy; ModelMismatchError: it is for another model."""
        reward, environment = self.reward, self.environment
        if text == "random":
            return Entry(text, None, uniform(environment, self.seed + 1))
        if text == "optimal":
            return Entry(text, None, optimal(reward, environment))
        if text == "greedy":
            return _entry(text, greedy(reward, environment))
        if directory is not None:
            policy = load_policy(directory, text)
            self._require_fit(policy)
            return _entry(text, policy.next_splits)
        if text == "untrained":
            return _entry(text, _untrained(reward, environment, self.seed))
        if text.partition(":")[0] not in ("fixed", "threshold"):
            raise InputError.of("--policy", text, FORMS)
        return _entry(text, self._served(text))

    def evaluate(self, entry: Entry, episodes: int) -> dict[str, Any]:
        """For JSON. `fraction_of_optimum` is of the exact return, which has no sampling error."""
        scorer = self.scorer
        played = play(entry.player, self.reward, self.environment, episodes, self.seed)
        if entry.exact is not None:
            exact = scorer.score(entry.exact).policy
        else:
            exact = scorer.random if entry.name == "random" else scorer.held_return()
        return {
            "policy": entry.name,
            "mean_return": round(played.mean, 5),
            "mean_return_margin": round(played.margin, 5),
            "exact_return": round(exact, 5),
            "fraction_of_optimum": round(fraction(exact, scorer.optimal, scorer.random), 5),
            "moves_per_episode": round(float(played.moved.mean()), 3),
        }

    def _served(self, text: str) -> NextSplits:
        """A policy that is written down, where it can be what it says."""
        policy, reward = parse_policy(text), self.reward
        first, last = reward.splits.start, reward.splits.stop - 1
        if isinstance(policy, FixedPolicy) and not first <= policy.split <= last:
            raise InputError.of("--policy", text, f"fixed:{first} to fixed:{last}")
        if isinstance(policy, ThresholdPolicy) and policy.measure not in reward.space.names:
            allowed = f"a threshold over {reward.space.names[0]}, which the reward is of"
            raise InputError.of("--policy", f"{text} over {policy.measure}", allowed)
        return served(policy, Features(reward.space, reward.splits))

    def _require_fit(self, policy: NetworkPolicy) -> None:
        require_same(policy.name, policy.model, self.reward.model)
        names, covered = policy.features.space.names, self.reward.space.names
        if names != covered:
            allowed = f"{', '.join(covered)}, which the reward is of"
            raise InputError.of(f"{policy.name}: sees", ", ".join(names), allowed)


def _entry(name: str, exact: NextSplits) -> Entry:
    return Entry(name, exact, steady(exact))


def _untrained(reward: Reward, environment: EnvironmentConfig, seed: int) -> NextSplits:
    """PPO's actor as it begins."""
    try:
        from controller.learning.agents import make_agent, networks
    except ImportError as error:
        raise InputError(
            "untrained: stable-baselines3 is not installed: pip install 'airsplit[train]'"
        ) from error
    from controller.learning.export import policy_of
    from controller.learning.hyperparameters import PpoConfig

    core = SplitVectorEnv(reward, environment, PpoConfig().environments, seed)
    weights = networks(make_agent(PpoConfig(), core, seed))
    return policy_of(weights, "ppo", reward.model, core.features, environment.moves).next_splits


def _print(result: dict[str, Any]) -> None:
    print(f"{'policy':24} {'sampled return':>22} {'exact':>9} {'of the way':>10} {'moves':>6}")
    for row in result["policies"]:
        sampled = f"{row['mean_return']:.4f} ± {row['mean_return_margin']:.4f}"
        print(
            f"{row['policy'][-24:]:24} {sampled:>22} {row['exact_return']:9.4f} "
            f"{100 * row['fraction_of_optimum']:9.1f}% {row['moves_per_episode']:6.2f}"
        )
    print(
        f"random {result['random_return']:.4f}, optimum {result['optimal_return']:.4f}; "
        f"{result['episodes']} episodes, seed {result['seed']}"
    )
    print(f"The optimum {result['optimum']}; the policy `optimal` plans as if the channel stayed.")
