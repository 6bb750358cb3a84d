"""Trains a policy: PPO, A2C or DQN on any reward, from the first step to a directory to serve.

Top to bottom: make the environment and the agent, go on from a checkpoint where that is asked for,
learn - looking up now and then to evaluate, to save, to switch to a surrogate, or to stop -, take
the networks out of torch, check that numpy computes the same, score against the optimum, write.
Needs the extra `train` (stable-baselines3); serving the result needs none of it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from airsplit.errors import InputError
from controller.learning import export
from controller.learning.agents import answers, make_agent, networks, random_states
from controller.learning.algorithm import SurrogateSwitch
from controller.learning.environment import EnvironmentConfig, SplitVectorEnv
from controller.learning.hyperparameters import AgentConfig, algorithm_of
from controller.learning.optimum import Scorer, Scores
from controller.learning.reward import Reward, identity
from controller.learning.supervisor import Enough, Supervisor
from controller.learning.threads import one_thread
from controller.learning.training_config import TrainingConfig
from controller.network import FORMAT, NetworkPolicy

CHECKPOINT_FILE = "checkpoint.safetensors"


def train(
    reward: Reward,
    environment: EnvironmentConfig,
    agent_config: AgentConfig,
    training: TrainingConfig,
    out: Path,
    *,
    switch: SurrogateSwitch | None = None,
    resume: bool = False,
    notes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Trains, writes the policy to `out`, and returns what `policy.json` holds.

    Args:
        reward: what the agent learns on, and what every evaluation is on.
        switch: Algorithm 1: what the agent learns on instead, `reward` first, then its surrogate.
        resume: go on from the checkpoint in `out`.
        notes: what else is to stand in `policy.json`, e.g. the command.

    Raises:
        InputError: `out` cannot be written, or there is no checkpoint of this training to resume.
        PolicyError: the exported network does not compute what torch computes.
        KeyboardInterrupt: Ctrl-C; a checkpoint has been written.
    """
    if switch and switch.after >= training.steps:
        allowed = f"below --steps, {training.steps}: nothing would be learnt on it"
        raise InputError.of("--surrogate-after", switch.after, allowed)
    algorithm = algorithm_of(agent_config)
    learnt_on = switch.reward if switch else reward
    core = SplitVectorEnv(learnt_on, environment, agent_config.environments, training.seed)
    scorer = Scorer.of(reward, environment, training.levels)
    setup = {
        "algorithm": algorithm,
        "agent": asdict(agent_config),
        "environment": environment.to_dict(),
        "model": {"name": reward.model.name, "layers": reward.model.layers},
        "features": core.features.to_dict(),
        "reward": identity(reward),
        "surrogate_after": switch.after if switch else 0,
        "seed": training.seed,
    }
    setup = json.loads(json.dumps(setup))  # as a checkpoint gives it back

    def policy_of(weights: export.Weights) -> NetworkPolicy:
        return export.policy_of(weights, algorithm, reward.model, core.features, environment.moves)

    def scores_of(weights: export.Weights) -> Scores:
        return scorer.score(policy_of(weights).next_splits)

    _make_directory(out)
    with one_thread():
        agent = make_agent(agent_config, core, training.seed, training.tensorboard)
        path = out / CHECKPOINT_FILE
        supervisor = Supervisor(agent, path, setup, training, scores_of, switch)
        if resume:
            supervisor.resume()
        with supervisor.catching_interrupts(), suppress(Enough):
            left = max(training.steps - agent.num_timesteps, 0)
            agent.learn(left, supervisor, reset_num_timesteps=False)
        supervisor.look(last=True)
        agent.logger.close()

    last = networks(agent)
    states = random_states(core.features, export.CHECKED_STATES)
    x = core.features.vectors(*states)
    export.require_equal(policy_of(last), answers(agent, x), *states)
    weights = supervisor.best if training.patience else last
    policy = policy_of(weights)
    record: dict[str, Any] = {
        "format": FORMAT,
        **setup,
        "actions": list(environment.moves),
        "network": {
            "hidden": list(agent_config.hidden),
            "activation": export.ACTIVATION[algorithm],
        },
        "steps": agent.num_timesteps,
        "switched_at": switch.switched_at if switch else None,
        "seconds": round(supervisor.seconds, 1),
        "scores": rounded(scorer.score(policy.next_splits)),
        "curve": [[int(n), round(j, 5), round(x, 5)] for n, j, x in supervisor.curve],
        "settled": export.settled_table(policy.next_splits, reward),
        **(notes or {}),
    }
    export.write_policy(out, weights, record)
    return record


def rounded(scores: Scores) -> dict[str, float]:
    """For JSON."""
    found = {**asdict(scores), "fraction_of_optimum": scores.fraction_of_optimum}
    return {name: round(value, 5) for name, value in found.items()}


def _make_directory(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out: {out} cannot be written: {error.strerror}") from error
