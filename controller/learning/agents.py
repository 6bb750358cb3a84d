"""stable-baselines3's PPO, A2C and DQN on the vectorised environment. Needs the extra `train`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecEnv

from airsplit.errors import InputError
from controller.features import Features
from controller.learning.environment import SplitVectorEnv
from controller.learning.hyperparameters import A2cConfig, AgentConfig, DqnConfig, PpoConfig
from controller.learning.space import Floats, Ints

Stepped = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]


class Sb3Env(VecEnv):
    """The vectorised environment as stable-baselines3 wants it: one call steps all episodes."""

    def __init__(
        self,
        core: SplitVectorEnv,
        scale: tuple[float, float] = (0.0, 1.0),
        *,
        bootstrap: bool = True,
    ) -> None:
        """
        Args:
            scale: what is taken off a reward before it is divided by what.
            bootstrap: see `AgentConfig`.
        """
        self.core = core
        self._bootstrap = bootstrap
        self.mean_return: float | None = None
        """Of the episodes that ended last, under the policy that explores."""

        self.returns = np.zeros(core.n)
        self._shift, self._unit = scale
        self._actions = np.zeros(core.n, np.int64)
        self._no_infos: list[dict[str, Any]] = [{}] * core.n
        states = gymnasium.spaces.Box(-1.0, 1.0, (core.features.size,), np.float32)
        super().__init__(core.n, states, gymnasium.spaces.Discrete(len(core.config.moves)))

    def reset(self) -> NDArray[np.float32]:
        seed = self._seeds[0]
        self._reset_seeds()
        self.returns[:] = 0
        return self.core.reset(seed)

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions.astype(np.int64)

    def step_wait(self) -> Stepped:
        seen = self.core.step(self._actions)
        self.returns += seen.rewards
        infos = self._no_infos
        if seen.truncated:
            self.mean_return = float(self.returns.mean())
            self.returns[:] = 0
            infos = [  # the one place where stable-baselines3 wants something of each by itself
                {"terminal_observation": state, "TimeLimit.truncated": self._bootstrap}
                for state in seen.final
            ]
        done = np.full(self.num_envs, seen.truncated)
        rewards = (seen.rewards - self._shift) / self._unit
        return seen.observations, rewards.astype(np.float32), done, infos

    def close(self) -> None:
        """Nothing is held."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        if attr_name != "render_mode":
            raise AttributeError(attr_name)
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


def make_agent(
    config: AgentConfig, core: SplitVectorEnv, seed: int, tensorboard: Path | None = None
) -> BaseAlgorithm:
    """An untrained agent on `core`, which has `config.environments` episodes.

    Args:
        seed: of the environment, the networks' start, and the sampling of actions and batches.
        tensorboard: where event files go; None for none.

    Raises:
        InputError: TensorBoard is asked for and not installed.
    """
    hidden = list(config.hidden)
    rate = config.learning_rate
    common: dict[str, Any] = {
        "policy": "MlpPolicy",
        "env": Sb3Env(
            core,
            reward_scale(core) if config.standardise else (0.0, 1.0),
            bootstrap=config.bootstrap,
        ),
        "learning_rate": (lambda left: left * rate) if config.anneal else rate,
        "gamma": config.gamma,
        "seed": seed,
        "device": "cpu",
    }
    actor_critic = {"net_arch": {"pi": hidden, "vf": hidden}, "activation_fn": torch.nn.Tanh}
    agent: BaseAlgorithm
    if isinstance(config, PpoConfig):
        agent = PPO(
            **common,
            policy_kwargs=actor_critic,
            n_steps=config.n_steps // config.environments,
            batch_size=config.batch_size,
            n_epochs=config.epochs,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            ent_coef=config.entropy,
        )
    elif isinstance(config, A2cConfig):
        agent = A2C(
            **common,
            policy_kwargs=actor_critic,
            n_steps=config.n_steps // config.environments,
            gae_lambda=config.gae_lambda,
            ent_coef=config.entropy,
        )
    elif isinstance(config, DqnConfig):
        agent = DQN(
            **common,
            policy_kwargs={"net_arch": hidden, "activation_fn": torch.nn.ReLU},
            buffer_size=config.buffer_size,
            learning_starts=config.learning_starts,
            batch_size=config.batch_size,
            train_freq=1,
            gradient_steps=config.gradient_steps,
            target_update_interval=config.target_update,
            exploration_fraction=config.exploration_fraction,
            exploration_final_eps=config.exploration_final,
        )
    else:
        raise TypeError(f"no algorithm for {type(config).__name__}")
    # Else stable-baselines3 makes a folder in the temporary directory for a log of nothing.
    agent.set_logger(Logger(None, _writers(tensorboard)))
    return agent


def sb3_env(agent: BaseAlgorithm) -> Sb3Env:
    """The environment of an agent that `make_agent` made."""
    env = agent.get_env()
    if not isinstance(env, Sb3Env):
        raise TypeError("the agent is on another environment")
    return env


def reward_scale(core: SplitVectorEnv, states: int = 256) -> tuple[float, float]:
    """Mean and standard deviation of the reward over random states, the same in every training."""
    rewards = core.reward(*random_states(core.features, states))
    return float(rewards.mean()), float(rewards.std()) or 1.0


def random_states(features: Features, n: int, seed: int = 0) -> tuple[Floats, Ints]:
    """Channels [n, k] and splits [n], uniform over the states on the features' own scale."""
    chance = np.random.default_rng(seed)
    channels = features.space.from_unit(chance.uniform(size=(n, features.size - 1)))
    return channels, chance.integers(features.splits.start, features.splits.stop, n)


def _writers(tensorboard: Path | None) -> list[KVWriter]:
    if tensorboard is None:
        return []
    if find_spec("tensorboard") is None:
        raise InputError("--tensorboard: is not installed: pip install 'airsplit[train]'")
    return [TensorBoardOutputFormat(str(tensorboard))]


def networks(agent: BaseAlgorithm) -> dict[str, NDArray[np.float32]]:
    """Weights as `controller.network` reads them: actor and critic, or DQN's q-network.

    Each layer has a weight [outputs, inputs] and a bias [outputs], float32.
    """
    policy: Any = agent.policy
    parts: dict[str, Iterable[torch.nn.Module]]
    if isinstance(agent, DQN):
        parts = {"q": policy.q_net.q_net}
    else:
        extractor = policy.mlp_extractor
        parts = {
            "actor": [*extractor.policy_net, policy.action_net],
            "critic": [*extractor.value_net, policy.value_net],
        }
    return {
        f"{part}.{layer}.{name}": tensor.detach().numpy().copy()
        for part, modules in parts.items()
        for layer, linear in enumerate(_linear(modules))
        for name, tensor in (("weight", linear.weight), ("bias", linear.bias))
    }


def _linear(modules: Iterable[torch.nn.Module]) -> Sequence[torch.nn.Linear]:
    return [module for module in modules if isinstance(module, torch.nn.Linear)]


def answers(agent: BaseAlgorithm, states: NDArray[np.float32]) -> NDArray[np.float32]:
    """What torch says of states [n, inputs]: normalised logits or q-values, [n, actions]."""
    policy: Any = agent.policy
    with torch.no_grad():
        x = torch.from_numpy(states)
        if isinstance(agent, DQN):
            values: NDArray[np.float32] = policy.q_net(x).numpy()
            return values
        logits: NDArray[np.float32] = policy.get_distribution(x).distribution.logits.numpy()
        return logits
