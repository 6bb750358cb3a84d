"""Trains the controller's policy: PPO on a measured table, with the paper's Table 4 as defaults.

Top to bottom: read the table, make the environment, train, take the networks out of torch, check
that numpy computes the same, score greedily against the optimum, write `policy.safetensors` and
`policy.json`. Needs the extra `train` (stable-baselines3); serving the result needs neither torch
nor stable-baselines3.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from airsplit.command_line import Parser, report_errors
from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.environment import EnvironmentConfig, Objective, SplitEnvironment
from controller.evaluation import Scores, evaluate, optimal_split, settled_splits
from controller.network import CONFIG_FILE, FORMAT, WEIGHTS_FILE, NetworkPolicy, load_policy
from controller.policy import Observation, PolicyError, clamp
from controller.table import PerplexityTable

CHECKED_OBSERVATIONS = 1000

LOGIT_TOLERANCE = 1e-4
"""float32 networks of this size differ by some 1e-6 between two libraries."""


@dataclass(frozen=True, slots=True)
class PpoConfig:
    """Hyper-parameters of PPO; the defaults are the paper's Table 4 where it gives them."""

    learning_rate: float = 3e-4
    gamma: float = 0.99
    clip_range: float = 0.2
    n_steps: int = 400
    """Environment steps between two updates, of all environments together."""

    batch_size: int = 100
    gae_lambda: float = 0.95
    n_epochs: int = 10
    """Passes over the steps of an update; not in Table 4, stable-baselines3's default."""

    ent_coef: float = 0.0
    """Weight of the entropy bonus; not in Table 4, stable-baselines3's default."""

    environments: int = 8
    """Stepped side by side, so that torch is called once for all; divides n_steps."""

    anneal: bool = False
    """The learning rate falls linearly to 0 over the training; not in Table 4."""

    hidden: tuple[int, ...] = (64, 64)
    """Sizes of the hidden layers of actor and critic, tanh between; not in Table 4."""


def train(
    table: PerplexityTable,
    out: Path,
    steps: int,
    seed: int,
    environment: EnvironmentConfig,
    ppo: PpoConfig | None = None,
) -> dict[str, Any]:
    """Trains, writes the policy to `out`, and returns what `policy.json` holds.

    Args:
        steps: environment steps, rounded up to whole updates.
        seed: of the environment, of the networks' start, and of the action sampling.

    Raises:
        InputError: stable-baselines3 is not installed, or `out` cannot be written.
        PolicyError: the exported network does not compute what torch computes.
    """
    ppo = ppo or PpoConfig()
    objective = Objective.of(table, environment)
    started = time.monotonic()
    model = _learn(table, environment, steps, seed, ppo)
    record: dict[str, Any] = {
        "format": FORMAT,
        "algorithm": "ppo",
        "model": asdict(table.model),
        "fingerprint": table.provenance.get("fingerprint"),
        "features": asdict(SplitEnvironment(table).features),
        "actions": environment.moves,
        "network": {"hidden": ppo.hidden, "activation": "tanh"},
        "environment": asdict(environment),
        "ppo": asdict(ppo),
        "steps": int(model.num_timesteps),
        "seed": seed,
        "command": _command(steps, seed, environment, ppo),
        "seconds": round(time.monotonic() - started, 1),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        save_file(_weights(model), out / WEIGHTS_FILE)
        _write(out / CONFIG_FILE, record)
    except OSError as error:
        raise InputError(f"--out: {out} cannot be written: {error.strerror}") from error
    policy = load_policy(out)
    _require_equal(model, policy, table)
    scores = evaluate(policy, objective, environment.moves)
    record["scores"] = _rounded(scores)
    record["settled"] = settled_table(policy, objective)
    _write(out / CONFIG_FILE, record)
    return record


def _command(steps: int, seed: int, environment: EnvironmentConfig, ppo: PpoConfig) -> str:
    """What to type for this training, as far as it has flags."""
    flags = {
        "--table": "table.json",
        "--out": "policy",
        "--steps": steps,
        "--seed": seed,
        "--lambda": environment.cost_weight,
        "--move-cost": environment.move_cost,
        "--actions": len(environment.moves),
        "--entropy": ppo.ent_coef,
    }
    given = " ".join(f"{flag} {value}" for flag, value in flags.items())
    return f"python -m controller.train {given}{' --anneal' if ppo.anneal else ''}"


def _learn(
    table: PerplexityTable, environment: EnvironmentConfig, steps: int, seed: int, ppo: PpoConfig
) -> Any:
    try:
        import torch
        from stable_baselines3 import PPO
        from stable_baselines3.common.vec_env import DummyVecEnv
    except ImportError as error:
        raise InputError(
            "stable-baselines3 is not installed: pip install 'airsplit[train]'"
        ) from error
    torch.set_num_threads(1)  # the networks are too small to gain from more
    hidden = list(ppo.hidden)
    model = PPO(
        "MlpPolicy",
        DummyVecEnv([lambda: SplitEnvironment(table, environment)] * ppo.environments),
        learning_rate=(lambda left: left * ppo.learning_rate) if ppo.anneal else ppo.learning_rate,
        gamma=ppo.gamma,
        clip_range=ppo.clip_range,
        n_steps=ppo.n_steps // ppo.environments,
        batch_size=ppo.batch_size,
        gae_lambda=ppo.gae_lambda,
        n_epochs=ppo.n_epochs,
        ent_coef=ppo.ent_coef,
        policy_kwargs={"net_arch": {"pi": hidden, "vf": hidden}, "activation_fn": torch.nn.Tanh},
        seed=seed,
        device="cpu",
    )
    return model.learn(total_timesteps=steps)


def _weights(model: Any) -> dict[str, np.ndarray]:
    """Actor and critic, layer by layer: weight [outputs, inputs], bias [outputs], float32."""
    extractor = model.policy.mlp_extractor
    parts = {
        "actor": [*extractor.policy_net, model.policy.action_net],
        "critic": [*extractor.value_net, model.policy.value_net],
    }
    weights = {}
    for part, modules in parts.items():
        linear = [module for module in modules if hasattr(module, "weight")]
        for layer, module in enumerate(linear):
            weights[f"{part}.{layer}.weight"] = module.weight.detach().numpy().copy()
            weights[f"{part}.{layer}.bias"] = module.bias.detach().numpy().copy()
    return weights


def _require_equal(model: Any, policy: NetworkPolicy, table: PerplexityTable) -> None:
    """numpy has to compute what torch computes, and to serve the move that follows from it.

    On random channels and splits of the table: the logits to LOGIT_TOLERANCE, and the split that
    is served against the rounded mean move of torch's own distribution, unless that mean is within
    the tolerance of halfway between two moves.

    Raises:
        PolicyError: it does not.
    """
    import torch

    chance = np.random.default_rng(0)
    layers = table.model.layers
    splits = LayerRange(0, layers + 1)
    seen = [
        Observation(float(sigma), 1 / float(inverse_m), 0.0, inf, int(split), splits)
        for sigma, inverse_m, split in zip(
            chance.uniform(0, table.sigma_max, CHECKED_OBSERVATIONS),
            chance.uniform(1e-3, table.inverse_m_max, CHECKED_OBSERVATIONS),
            chance.integers(0, layers + 1, CHECKED_OBSERVATIONS),
            strict=True,
        )
    ]
    x = np.stack([policy.features.vector(o.sigma, o.m, o.split) for o in seen])
    with torch.no_grad():
        chosen = model.policy.get_distribution(torch.from_numpy(x)).distribution
        theirs, shares = chosen.logits.numpy(), chosen.probs.double().numpy()
    ours = policy.actor(x)
    ours = ours - np.log(np.exp(ours.astype(np.float64)).sum(axis=1, keepdims=True))
    apart = float(np.abs(ours - theirs).max())
    if not apart <= LOGIT_TOLERANCE:
        raise PolicyError(f"numpy and torch differ by {apart:.3g} in their logits")
    moves = shares @ np.array(policy.actions)
    sure = np.abs(np.abs(moves - np.rint(moves)) - 0.5) > LOGIT_TOLERANCE * len(policy.actions)
    wanted = [
        clamp(o.split + int(np.rint(move)), splits) for o, move in zip(seen, moves, strict=True)
    ]
    served = [policy.decide(observation).split for observation in seen]
    differ = int((np.array(served) != np.array(wanted))[sure].sum())
    if differ:
        raise PolicyError(f"what is served differs from torch's mean move in {differ} splits")


def settled_table(policy: NetworkPolicy, objective: Objective) -> list[dict[str, Any]]:
    """Where the policy settles under every channel of the table, with the objective's optimum."""
    rows = []
    for m in objective.table.m:
        for sigma in objective.table.sigma:
            cost = objective.row(sigma, m)
            settled = settled_splits(policy, sigma, m, objective.table.model.layers)
            best = optimal_split(objective, sigma, m)
            rows.append(
                {
                    "m": "inf" if np.isinf(m) else m,
                    "sigma": sigma,
                    "settled": settled,
                    "optimal": best,
                    "excess_cost": round(float(max(cost[list(settled)]) - cost[best]), 5),
                }
            )
    return rows


def _rounded(scores: Scores) -> dict[str, float]:
    found = {**asdict(scores), "fraction_of_optimum": scores.fraction_of_optimum}
    return {name: round(value, 5) for name, value in found.items()}


def _write(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    defaults = EnvironmentConfig()
    parser = Parser(
        prog="python -m controller.train",
        description="Trains a split policy with PPO on a measured table (experiments.grid).",
        epilog="example: python -m controller.train --table table.json --out policy --steps 50000",
    )
    add = parser.add_argument
    add("--table", type=Path, required=True, metavar="FILE", help="from experiments.grid")
    add("--out", type=Path, required=True, metavar="DIR", help="where the policy goes")
    add("--steps", type=int, default=100_000, metavar="N",
        help="environment steps (default: %(default)d)")  # fmt: skip
    add("--seed", type=int, default=0, metavar="S", help="of all chance (default: %(default)d)")
    add("--lambda", dest="cost_weight", type=float, default=defaults.cost_weight, metavar="X",
        help="what all layers on the UE cost against the share of likelihood lost, at least 0 "
        "(default: %(default)g)")  # fmt: skip
    add("--move-cost", type=float, default=defaults.move_cost, metavar="X",
        help="cost of moving by one layer, at least 0 (default: %(default)g)")  # fmt: skip
    add("--actions", type=int, choices=(3, 5, 7, 9), default=2 * defaults.max_move + 1,
        help="moves of the split: 3 is -1..1, 5 is -2..2 (default: %(default)d)")  # fmt: skip
    add("--entropy", type=float, default=0.0, metavar="X",
        help="weight of PPO's entropy bonus, at least 0 (default: %(default)g)")  # fmt: skip
    add("--anneal", action="store_true", help="let the learning rate fall linearly to 0")
    args = parser.parse_args(argv)
    return report_errors("train", lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Trains, and prints what came of it.

    Raises:
        InputError: a value is out of its range, or a file is not what it should be.
        PolicyError: as `train`.
    """
    if args.steps < 1:
        raise InputError.of("--steps", args.steps, "at least 1")
    if not 0 <= args.seed < 2**32:
        raise InputError.of("--seed", args.seed, "0-4294967295")
    if not 0 <= args.entropy <= 1:
        raise InputError.of("--entropy", args.entropy, "0-1")
    config = replace(
        EnvironmentConfig(),
        cost_weight=args.cost_weight,
        move_cost=args.move_cost,
        max_move=args.actions // 2,
    )
    table = PerplexityTable.load(args.table)
    ppo = PpoConfig(anneal=args.anneal, ent_coef=args.entropy)
    record = train(table, args.out, args.steps, args.seed, config, ppo)
    for row in record["settled"]:
        splits = "/".join(map(str, row["settled"]))
        print(
            f"m={row['m']} sigma={row['sigma']:g}: settles at {splits}, "
            f"optimum {row['optimal']}, excess cost {row['excess_cost']:.5f}"
        )
    print(json.dumps(record["scores"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
