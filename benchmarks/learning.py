"""Speed of the learning part, against the plain way, in one run. Prints one JSON object last."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger

from controller.learning.agents import make_agent, networks
from controller.learning.cases import Case
from controller.learning.dynamics import ReleasedDrift
from controller.learning.environment import EnvironmentConfig, SplitVectorEnv
from controller.learning.export import policy_of
from controller.learning.hyperparameters import PpoConfig, agent_config
from controller.learning.optimum import Scorer
from controller.learning.published import PublishedReward
from controller.network import Mlp

TRAINED = agent_config("ppo", "best", {}).environments
"""Episodes side by side in a training."""

ENVIRONMENTS = (TRAINED, 64, 256)
CONFIG = EnvironmentConfig(case=Case.RELEASED, max_move=1, dynamics=ReleasedDrift())
TOLERANCE = 1e-4
"""Of a reward: the plain way computes in float32."""


class PlainEnvironment(gymnasium.Env[np.ndarray, np.int64]):
    """The same process written the plain way: one episode, one torch call a step."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network
        self.observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)
        self.loss, self.split, self.steps = 0.0, 1, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.loss, self.split = (
            self.np_random.uniform(0.01, 0.3),
            int(self.np_random.integers(1, 10)),
        )
        self.steps = 0
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        arrived = min(max(self.split + int(action) - 1, 1), 10)
        with torch.no_grad():
            found = self.network(torch.tensor([[self.loss, arrived]], dtype=torch.float32)).item()
        reward = 10 * found + (10 - arrived) / 10
        self.loss = min(self.loss * (1 - 0.0005 * (arrived - self.split)), 0.3)
        self.split = arrived
        self.steps += 1
        return self._observation(), reward, False, self.steps == CONFIG.episode_steps, {}

    def _observation(self) -> np.ndarray:
        state = (self.loss / 0.15 - 1, (self.split - 1) / 4.5 - 1)
        return np.array(state, dtype=np.float32)


def environment_speedup(
    reward_file: Path | None = None, steps: int = 2000, rounds: int = 5
) -> dict[str, Any]:
    """Environment and reward per step: all of n at once in numpy, against one and torch.

    The reward is the network of `reward_file`, else one of the same shape with random weights. Both
    ways have to pay the same for the same states. The ways take turns, and medians are compared.

    Returns:
        `env_speedup` (of the n of a training), `env_speedups` by n, and microseconds of a step.
    """
    torch.set_num_threads(1)
    reward = PublishedReward.load(reward_file) if reward_file else _random_reward()
    network = _in_torch(reward.network)
    plain = PlainEnvironment(network)
    many = {n: SplitVectorEnv(reward, CONFIG, n) for n in ENVIRONMENTS}
    _require_equal(reward, plain)
    spent: dict[int, list[float]] = {n: [] for n in (0, *ENVIRONMENTS)}
    for turn in range(rounds):
        chance = np.random.default_rng(turn)
        spent[0].append(_seconds(lambda: _walk(plain, chance.integers(0, 3, steps))) / steps)  # noqa: B023
        for n, environment in many.items():
            actions = chance.integers(0, 3, (steps, n))
            spent[n].append(_seconds(lambda: [*map(environment.step, actions)]) / steps / n)  # noqa: B023
    step_us = {n: 1e6 * statistics.median(seconds) for n, seconds in spent.items()}
    speedups = {str(n): round(step_us[0] / step_us[n], 1) for n in ENVIRONMENTS}
    return {
        "env_speedup": speedups[str(TRAINED)],
        "env_speedups": speedups,
        "env_step_us": {str(n or "plain"): round(us, 3) for n, us in step_us.items()},
        "env_reward": reward.name,
    }


def training_speedup(
    reward_file: Path | None = None, steps: int = 24_000, seed: int = 0
) -> dict[str, Any]:
    """A whole training of PPO at equal environment steps and gradient steps, against the plain way.

    The plain way is stable-baselines3 on one `PlainEnvironment`. Hyper-parameters are those of the
    preset `best`, without its scaled reward, which the plain way does not have. Both policies are
    scored exactly, on the same starts.

    Returns:
        `train_speedup`, `return_ratio` (of exact returns, ours over the plain way's), both
        fractions of the optimum, both durations, and the gradient steps of each.
    """
    torch.set_num_threads(1)
    reward = PublishedReward.load(reward_file) if reward_file else _random_reward()
    config = agent_config("ppo", "best", {"standardise": False})
    if not isinstance(config, PpoConfig):
        raise TypeError("the preset is of another algorithm")
    core = SplitVectorEnv(reward, CONFIG, config.environments, seed)
    ways = {
        "ours": make_agent(config, core, seed),
        "plain": _plain_agent(config, _in_torch(reward.network), seed),
    }
    seconds = {name: _seconds(partial(agent.learn, steps)) for name, agent in ways.items()}
    scorer = Scorer.of(reward, CONFIG)
    scores = {
        name: scorer.score(
            policy_of(networks(agent), "ppo", reward.model, core.features, CONFIG.moves).next_splits
        )
        for name, agent in ways.items()
    }
    batches = config.n_steps // config.batch_size
    return {
        "train_speedup": round(seconds["plain"] / seconds["ours"], 2),
        "return_ratio": round(scores["ours"].policy / scores["plain"].policy, 4),
        "train_fractions": {n: round(s.fraction_of_optimum, 4) for n, s in scores.items()},
        "train_seconds": {name: round(spent, 2) for name, spent in seconds.items()},
        "train_steps": {name: agent.num_timesteps for name, agent in ways.items()},
        "gradient_steps": {name: agent._n_updates * batches for name, agent in ways.items()},
        "train_seed": seed,
    }


def _plain_agent(config: PpoConfig, network: torch.nn.Module, seed: int) -> PPO:
    hidden = list(config.hidden)
    agent = PPO(
        "MlpPolicy",
        PlainEnvironment(network),
        learning_rate=lambda left: left * config.learning_rate,
        gamma=config.gamma,
        n_steps=config.n_steps,
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip_range,
        ent_coef=config.entropy,
        policy_kwargs={"net_arch": {"pi": hidden, "vf": hidden}},
        seed=seed,
        device="cpu",
    )
    agent.set_logger(Logger(None, []))
    return agent


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _walk(environment: PlainEnvironment, actions: np.ndarray) -> None:
    environment.reset()
    for action in actions:
        if environment.step(action)[3]:
            environment.reset()


def _require_equal(reward: PublishedReward, plain: PlainEnvironment) -> None:
    chance = np.random.default_rng(0)
    loss, split = chance.uniform(0.01, 0.3, 200), chance.integers(1, 10, 200)
    ours = reward(loss[:, None], split)
    for i in range(200):
        plain.loss, plain.split, plain.steps = float(loss[i]), int(split[i]), 0
        theirs = plain.step(np.int64(1))[1]
        if not abs(ours[i] - theirs) <= TOLERANCE * max(1.0, abs(theirs)):
            raise RuntimeError(f"rewards differ: {ours[i]} here, {theirs} the plain way")


def _random_reward() -> PublishedReward:
    chance = np.random.default_rng(0)
    sizes = (2, 128, 128, 1)
    shapes = [(sizes[i + 1], sizes[i]) for i in range(3)]
    weights = tuple((chance.normal(size=s) / s[1] ** 0.5).astype(np.float32) for s in shapes)
    biases = tuple(chance.normal(size=s[0]).astype(np.float32) for s in shapes)
    return PublishedReward("random weights", Mlp(weights, biases, "relu"))


def _in_torch(network: Mlp) -> torch.nn.Module:
    layers: list[torch.nn.Module] = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reward", type=Path, metavar="FILE", help="the published reward model")
    parser.add_argument("--steps", type=int, default=24_000, help="of a training")
    parser.add_argument("--seed", type=int, default=0, help="of a training")
    parser.add_argument("--json", action="store_true", help="compact, on one line")
    args = parser.parse_args()
    found = {
        **environment_speedup(args.reward),
        **training_speedup(args.reward, args.steps, args.seed),
    }
    print(json.dumps(found, indent=None if args.json else 1))


if __name__ == "__main__":
    main()
