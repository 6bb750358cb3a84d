"""How channels go on: within their space, as their parameters say, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import numpy as np
import pytest
from scipy import special

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from channel_emulator.mobility import Mobility
from controller.learning.cases import Case, starts_of
from controller.learning.dynamics import Drift, Dynamics, Held, ReleasedDrift
from controller.learning.space import ChannelSpace
from controller.learning.way import MobilityDynamics

NOISE = ChannelSpace(("sigma", "inverse_m"), (0.0, 0.0), (5.0, 1.0))
LOSS = ChannelSpace(("loss",), (0.0,), (0.3,))
SPLITS = LayerRange(1, 11)
WALK = MobilityDynamics(ways=4, samples=64)
ALL: list[Dynamics] = [Held(), Drift(), ReleasedDrift(), WALK]


def course(
    dynamics: Dynamics, space: ChannelSpace, n: int, steps: int, seed: int = 0
) -> np.ndarray:
    """Channels, [steps, n, k], of splits that stay."""
    chance = np.random.default_rng(seed)
    states = dynamics.start(chance, space, starts_of(Case.A, space, SPLITS), n)
    found = []
    for _ in range(steps):
        found.append(states[:, : len(space.names)])
        states = dynamics.step(chance, space, states, np.zeros(n, dtype=np.int64))
    return np.array(found)


@pytest.mark.parametrize("space", [NOISE, LOSS])
@pytest.mark.parametrize("dynamics", ALL)
def test_channels_stay_within_the_space(dynamics: Dynamics, space: ChannelSpace) -> None:
    found = course(dynamics, space, 50, 40)
    assert space.contains(found.reshape(-1, len(space.names))).all()
    np.testing.assert_array_equal(found, course(dynamics, space, 50, 40))
    assert (found != course(dynamics, space, 50, 40, seed=1)).any()


def test_a_drift_is_as_wide_as_configured_on_the_noises_own_scale() -> None:
    for sd in (0.01, 0.03):
        unit = NOISE.to_unit(course(Drift(sd), NOISE, 4000, 2).reshape(-1, 2)).reshape(2, 4000, 2)
        middle = np.abs(unit[0, :, 0] - 0.5) < 0.3
        assert np.diff(unit[:, middle, 0], axis=0).std() == pytest.approx(sd, rel=0.05)
        np.testing.assert_allclose(unit[0, :, 1], unit[1, :, 1])


def test_the_released_drift_by_hand() -> None:
    states, moves = np.array([[0.1], [0.2], [0.3]]), np.array([2, -1, -4])
    after = ReleasedDrift().step(np.random.default_rng(0), LOSS, states, moves)
    assert after[:, 0] == pytest.approx([0.1 * 0.999, 0.2 * 1.0005, 0.3])
    assert states[2, 0] == 0.3
    faster = ReleasedDrift(0.01).step(np.random.default_rng(0), LOSS, states, moves)
    assert faster[0, 0] == pytest.approx(0.098)


@pytest.mark.parametrize("space", [NOISE, LOSS])
@pytest.mark.parametrize("dynamics", ALL)
def test_transitions_are_probabilities_and_starts_are_shares(
    dynamics: Dynamics, space: ChannelSpace
) -> None:
    starts = (
        starts_of(Case.H, space, SPLITS, fading_share=0.25)
        if dynamics is not WALK
        else (starts_of(Case.A, space, SPLITS))
    )
    grid = dynamics.grid(space, starts, 9)
    assert grid.start.sum() == pytest.approx(1)
    begun = grid.states[grid.start > 0][:, : len(space.names)]
    assert starts.space.contains(starts.space.clip(begun)).all()
    np.testing.assert_allclose(begun, starts.space.clip(begun), atol=1e-9)
    for move in (-2, 0, 1):
        matrix = dynamics.transition(space, grid, move).toarray()
        assert matrix.min() >= 0
        np.testing.assert_allclose(matrix.sum(axis=1), 1)


@pytest.mark.parametrize("dynamics", [Held(), Drift(0.03), ReleasedDrift(0.01)])
def test_the_expected_channel_after_a_step_is_that_of_sampling(dynamics: Dynamics) -> None:
    grid = dynamics.grid(LOSS, starts_of(Case.A, LOSS, SPLITS), 61)
    expected = dynamics.transition(LOSS, grid, -2) @ grid.states[:, 0]
    chance = np.random.default_rng(0)
    states, moves = np.repeat(grid.states, 4000, axis=0), np.full(61 * 4000, -2)
    sampled = dynamics.step(chance, LOSS, states, moves).reshape(61, 4000).mean(axis=1)
    np.testing.assert_allclose(expected, sampled, atol=5 * 0.009 / 4000**0.5)


def test_a_way_follows_the_emulators_mobility() -> None:
    """Shape 1 where the UE is hidden; loss is the outage of the same SNR that sets the noise."""
    wide = ChannelSpace(("sigma", "inverse_m", "loss"), (0.0, 0.0, 0.0), (1e5, 2.0, 1.0))
    sigma, share, loss = WALK.grid(wide, starts_of(Case.A, wide, SPLITS), 0).states[:, :3].T
    snr = sigma**-2
    np.testing.assert_allclose(loss, special.gammainc(1 / share, 1 / share / snr), rtol=1e-9)
    assert (share == 1).any()
    assert (share < 1).any()
    rayleigh = share == 1
    np.testing.assert_allclose(loss[rayleigh], -np.expm1(-1 / snr[rayleigh]), rtol=1e-9)


def test_a_channel_decorrelates_with_the_way_not_with_time() -> None:
    def correlation(speed_mps: float) -> float:
        still = Mobility(speed_mps=speed_mps, sigma_mps=0.0, extra_loss_db=20.0)
        walk = replace(WALK, mobility=still, ways=32)
        unit = NOISE.to_unit(course(walk, NOISE, 2000, 2).reshape(-1, 2)).reshape(2, 2000, 2)
        return float(np.corrcoef(unit[0, :, 0], unit[1, :, 0])[0, 1])

    assert correlation(0.0) == pytest.approx(1.0)
    assert 1 > correlation(1.4) > correlation(15.0)


@pytest.mark.parametrize(
    "change", [{"rms": 2.0}, {"step_s": 5.0}, {"seed": 1}, {"ways": 5}, {"samples": 99}]
)
def test_every_knob_of_a_way_changes_the_noise(change: dict[str, float]) -> None:
    changed = replace(WALK, **change)  # type: ignore[arg-type]
    assert not np.array_equal(course(WALK, NOISE, 20, 5), course(changed, NOISE, 20, 5))


def test_the_threshold_changes_the_loss() -> None:
    least, greater = (course(replace(WALK, threshold_db=t), LOSS, 99, 2) for t in (-10, 10))
    assert least.mean() < greater.mean()


def test_a_way_ends_where_it_ends() -> None:
    found = course(WALK, NOISE, 8, 2 * WALK.samples)
    np.testing.assert_array_equal(found[-1], found[-2])


def test_a_case_that_no_way_passes_is_named() -> None:
    near = MobilityDynamics(Mobility(extra_loss_db=0.0), ways=1, samples=4, rms=1e-6)
    starts = starts_of(Case.H, NOISE, SPLITS)
    with pytest.raises(InputError, match="--case"):
        near.start(np.random.default_rng(0), NOISE, starts, 1)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Drift(-0.1), "drift"),
        (lambda: Drift(nan), "drift"),
        (lambda: ReleasedDrift(nan), "rate"),
        (lambda: ReleasedDrift(0.5), "rate"),
        (lambda: MobilityDynamics(ways=0), "ways"),
        (lambda: MobilityDynamics(samples=1), "samples"),
        (lambda: MobilityDynamics(rms=nan), "rms"),
        (lambda: MobilityDynamics(threshold_db=nan), "threshold_db"),
        (lambda: MobilityDynamics(step_s=0.0), "step_s"),
    ],
)
def test_parameters_are_checked(make: object, field: str) -> None:
    with pytest.raises(InputError, match=field):
        make()  # type: ignore[operator]
