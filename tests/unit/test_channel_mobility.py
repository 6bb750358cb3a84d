"""Motion, path loss and shadowing against hand-computed values and stationary laws."""

import math

import numpy as np
import pytest

from airsplit.errors import InputError
from channel_emulator.mobility import MAX_SAMPLES, Mobility, trajectory
from channel_emulator.propagation import (
    PARAMETERS,
    PathLossModel,
    los_probability,
    nakagami_m,
    path_loss_db,
)

UMI, UMA = PathLossModel.UMI, PathLossModel.UMA

OPEN_M = (-1e4, -1e4, 1e4, 1e4)
"""Too large for a wall to be met."""


@pytest.mark.parametrize(
    ("model", "distance_m", "los", "expected_db"),
    [
        # d_3D = sqrt(100² + 8.5²) = 100.360579; log10 = 2.0015633; 20 log10 3.5 = 10.8813609
        (UMI, 100, True, 32.4 + 21 * 2.0015633 + 10.8813609),
        # 35.3 * 2.0015633 + 22.4 + 21.3 * 0.5440680
        (UMI, 100, False, 70.6551845 + 22.4 + 11.5886494),
        # beyond d'_BP = 4 * 9 * 0.5 * 3.5e9 / 3e8 = 210 m: d_3D = 400.0903, log10 = 2.6021580
        (UMI, 400, True, 32.4 + 40 * 2.6021580 + 10.8813609 - 9.5 * math.log10(210**2 + 8.5**2)),
        # d_3D = sqrt(100² + 23.5²) = 102.724145; log10 = 2.0116725
        (UMA, 100, True, 28 + 22 * 2.0116725 + 10.8813609),
        (UMA, 100, False, 13.54 + 39.08 * 2.0116725 + 10.8813609),
        # beyond d'_BP = 4 * 24 * 0.5 * 3.5e9 / 3e8 = 560 m: d_3D = 1000.2761, log10 = 3.0001199
        (UMA, 1000, True, 28 + 40 * 3.0001199 + 10.8813609 - 9 * math.log10(560**2 + 23.5**2)),
    ],
)
def test_path_loss_of_table_7_4_1_1(model, distance_m, los, expected_db):
    assert path_loss_db(model, distance_m, los, 3.5) == pytest.approx(expected_db, abs=1e-4)


@pytest.mark.parametrize("model", PathLossModel)
def test_path_loss_grows_and_is_never_less_out_of_sight(model):
    distance = np.linspace(10, 2000, 5000)
    in_sight, hidden = (path_loss_db(model, distance, los, 3.5) for los in (True, False))
    assert (np.diff(in_sight) > 0).all()  # the pieces meet at the breakpoint
    assert np.diff(in_sight).max() < 0.5
    assert (hidden >= in_sight).all()
    assert path_loss_db(model, 0, True, 3.5) == path_loss_db(model, 10, True, 3.5)


def test_a_higher_ue_sees_more():
    assert path_loss_db(UMI, 100, False, 3.5, 4.5) == pytest.approx(
        path_loss_db(UMI, 100, False, 3.5) - 0.9 - 35.3 * (2.0015633 - math.log10(100.1511)),
        abs=1e-3,
    )


def test_los_probability_of_table_7_4_2_1():
    assert los_probability(UMI, [0, 18]).tolist() == [1, 1]
    assert los_probability(UMI, 100) == pytest.approx(0.18 + math.exp(-100 / 36) * 0.82)
    assert los_probability(UMA, 100) == pytest.approx(0.18 + math.exp(-100 / 63) * 0.82)


def test_large_scale_parameters_are_those_of_the_tables():
    """Shadowing (7.4.1-1) and its, K's and the sight's correlation distances (7.5-6, 7.6.3.1-2)."""
    umi, uma = PARAMETERS[UMI], PARAMETERS[UMA]
    assert (umi.base_height_m, uma.base_height_m) == (10, 25)
    assert (umi.shadowing_los_db, umi.shadowing_nlos_db) == (4, 7.82)
    assert (uma.shadowing_los_db, uma.shadowing_nlos_db) == (4, 6)
    assert (umi.shadowing_los_correlation_m, umi.shadowing_nlos_correlation_m) == (10, 13)
    assert (uma.shadowing_los_correlation_m, uma.shadowing_nlos_correlation_m) == (37, 50)
    assert (umi.k_mean_db, umi.k_sd_db, umi.k_correlation_m) == (9, 5, 15)
    assert (uma.k_mean_db, uma.k_sd_db, uma.k_correlation_m) == (9, 3.5, 12)
    assert (umi.los_correlation_m, uma.los_correlation_m) == (50, 50)


def test_m_of_k():
    assert nakagami_m(-math.inf) == 1  # K = 0 is Rayleigh
    assert nakagami_m(0) == pytest.approx(4 / 3)
    assert nakagami_m(10 * math.log10(8)) == pytest.approx(81 / 17)


def test_m_has_the_second_moment_of_the_rician():
    """1/m is the variance of the power over its squared mean, simulated."""
    k = 4.0
    rng = np.random.default_rng(5)
    scattered = rng.standard_normal((2, 400_000)) * math.sqrt(1 / (2 * (k + 1)))
    power = (scattered[0] + math.sqrt(k / (k + 1))) ** 2 + scattered[1] ** 2
    assert 1 / np.var(power) == pytest.approx(nakagami_m(10 * math.log10(k)), rel=0.01)


def test_velocity_is_gauss_markov():
    mobility = Mobility(
        speed_mps=3, direction_deg=30, sigma_mps=0.5, alpha=0.8, start_m=(0, 0), area_m=OPEN_M
    )
    way = trajectory(mobility, 1, 2_000, 0.5)
    many = [trajectory(mobility, seed, 40, 0.5) for seed in range(300)]
    vx = np.diff([w.x_m for w in many], axis=1) / 0.5  # [runs, steps]
    vy = np.diff([w.y_m for w in many], axis=1) / 0.5
    n_free = 300 * 40 * 0.5 * -math.log(0.8) / 2  # effective sample size
    bound = 4 * 0.5 / math.sqrt(n_free)
    assert vx.mean() == pytest.approx(3 * math.cos(math.pi / 6), abs=bound)
    assert vy.mean() == pytest.approx(1.5, abs=bound)
    for component in (vx, vy):
        for step in (0, -1):  # stationary from the first step on
            assert component[:, step].std() == pytest.approx(0.5, rel=0.15)
        deviation = component - component.mean()
        for lag in (1, 4):
            correlation = (deviation[:, lag:] * deviation[:, :-lag]).mean() / deviation.var()
            assert correlation == pytest.approx(0.8 ** (0.5 * lag), abs=0.06)
    assert np.hypot(np.diff(way.x_m), np.diff(way.y_m)) / 0.5 == pytest.approx(way.speed_mps[:-1])


def test_a_shorter_step_moves_alike():
    """alpha is the memory of a second, whatever the step."""
    mobility = Mobility(speed_mps=0, sigma_mps=1, alpha=0.5, start_m=(0, 0), area_m=OPEN_M)
    for step_s in (0.1, 1.0):
        samples = round(10 / step_s) + 1
        ends = [trajectory(mobility, seed, samples, step_s).x_m[-1] for seed in range(400)]
        keep, steps = 0.5**step_s, samples - 1
        lags = np.arange(1, steps)
        expected = step_s**2 * (steps + 2 * np.sum((steps - lags) * keep**lags))
        assert np.var(ends) == pytest.approx(expected, rel=0.3)


def test_walls_reflect():
    """Against a reckoning step by step, without deviations."""
    mobility = Mobility(
        speed_mps=1, direction_deg=0, sigma_mps=0, start_m=(9, 5), area_m=(0, 5, 10, 6)
    )
    way = trajectory(mobility, 1, 25, 1.0)
    assert way.x_m.tolist() == pytest.approx(
        [9, 10, *range(9, -1, -1), *range(1, 11), *range(9, 6, -1)]
    )
    assert way.y_m.tolist() == [5] * 25
    assert way.speed_mps.tolist() == [1] * 25


def test_the_ue_stays_in_its_area():
    mobility = Mobility(speed_mps=5, direction_deg=70, sigma_mps=2, area_m=(20, -30, 60, 40))
    way = trajectory(mobility, 3, 5_000, 0.5)
    assert 20 <= way.x_m.min() < 21
    assert 59 < way.x_m.max() <= 60
    assert -30 <= way.y_m.min() < -29
    assert 39 < way.y_m.max() <= 40
    assert way.distance_m == pytest.approx(np.hypot(way.x_m, way.y_m))


@pytest.mark.parametrize(
    ("model", "start_m", "los"), [(UMI, 5, True), (UMI, 9_000, False), (UMA, 9_000, False)]
)
def test_shadowing_has_its_deviation_and_correlation(model, start_m, los):
    """Along y at a distance where nearly all is in sight, or nearly nothing."""
    mobility = Mobility(
        model=model,
        speed_mps=2,
        direction_deg=90,
        sigma_mps=0,
        start_m=(start_m, -8),
        area_m=(start_m - 1, -8, start_m + 1, 8) if los else OPEN_M,
    )
    way = trajectory(mobility, 4, 50_000, 1.0)
    radio = PARAMETERS[model]
    sigma = radio.shadowing_los_db if los else radio.shadowing_nlos_db
    distance = radio.shadowing_los_correlation_m if los else radio.shadowing_nlos_correlation_m
    if los:
        assert way.los.all()
    at = way.los == los
    shadowing = way.shadowing_db[at]
    n_free = len(shadowing) / distance  # 2 m a step, a correlation time of 2 d_corr
    assert at.mean() > 0.99
    assert shadowing.mean() == pytest.approx(0, abs=4 * sigma / math.sqrt(n_free))
    assert shadowing.std() == pytest.approx(sigma, rel=4 / math.sqrt(2 * n_free))
    for lag in (1, 5):
        both = at[lag:] & at[:-lag]
        product = way.shadowing_db[lag:][both] * way.shadowing_db[:-lag][both]
        assert product.mean() / sigma**2 == pytest.approx(math.exp(-2 * lag / distance), abs=0.12)


def test_the_line_of_sight_lasts_and_is_as_likely_as_it_should_be():
    """To and fro at 60 m, one walk after another."""
    mobility = Mobility(speed_mps=2, sigma_mps=0, start_m=(60, 0), area_m=(60, -1, 60.01, 1))
    expected, found, changes, moved_m = [], [], 0, 0.0
    for seed in range(40):
        way = trajectory(mobility, seed, 1_000, 0.5)
        expected.append(los_probability(UMI, way.distance_m).mean())
        found.append(way.los.mean())
        changes += int(np.abs(np.diff(way.los.astype(int))).sum())
        moved_m += 999.0
    p = np.mean(expected)
    stretches = moved_m / 50
    assert np.mean(found) == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / stretches))
    # Drawn anew every 50 m: a change at 2 p (1 - p) of them.
    assert changes / stretches == pytest.approx(2 * p * (1 - p), rel=0.15)


def test_k_in_sight_makes_m_and_rayleigh_out_of_it():
    mobility = Mobility(speed_mps=3, sigma_mps=0, start_m=(10, 0), area_m=(8, -8, 12, 8))
    way = trajectory(mobility, 2, 20_000, 1.0)
    assert way.los.all()
    k = way.m - 1 + np.sqrt(way.m**2 - way.m)  # (K + 1)²/(2K + 1) = m, solved for K
    k_db = 10 * np.log10(k)
    assert k_db.mean() == pytest.approx(9, abs=0.5)
    assert k_db.std() == pytest.approx(5, rel=0.06)
    far = trajectory(Mobility(start_m=(95, 95)), 2, 500, 0.5)
    assert (far.m[~far.los] == 1).all()
    assert (far.m[far.los] > 1).all()


def test_the_link_budget_adds_up():
    mobility = Mobility(bandwidth_mhz=10, transmit_dbm=30, noise_figure_db=7, extra_loss_db=11)
    assert mobility.noise_dbm == pytest.approx(-174 + 70 + 7)
    way = trajectory(mobility, 1, 200, 0.5)
    sum_db = way.snr_db + way.path_loss_db + way.shadowing_db
    assert sum_db == pytest.approx(np.full(200, 30 - 11 + 97))
    loss = path_loss_db(UMI, way.distance_m, way.los, 3.5)
    assert way.path_loss_db.tolist() == loss.tolist()


def test_a_seed_is_a_way():
    one, same = (trajectory(Mobility(), "a", 50, 0.5) for _ in range(2))
    other = trajectory(Mobility(), "b", 50, 0.5)
    for name in ("x_m", "los", "shadowing_db", "snr_db", "m"):
        assert np.array_equal(getattr(one, name), getattr(same, name))
    assert not np.array_equal(one.snr_db, other.snr_db)
    assert not np.array_equal(one.x_m, other.x_m)


def test_one_that_stands_still_keeps_its_channel():
    way = trajectory(Mobility(speed_mps=0, sigma_mps=0), 1, 100, 0.5)
    assert np.ptp(way.snr_db) == np.ptp(way.m) == 0


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"model": "rma"}, "model: 'rma' .*umi|uma"),
        ({"speed_mps": -1}, "speed_mps: -1"),
        ({"alpha": 1.1}, "alpha: 1.1 .*\\[0, 1\\]"),
        ({"bandwidth_mhz": 0}, "bandwidth_mhz: 0"),
        ({"start_m": (0,)}, "start_m: \\(0,\\) .*2 numbers"),
        ({"start_m": (0, math.nan)}, "start_m: nan"),
        ({"area_m": (1, 0, 0, 1)}, "area_m"),
        ({"start_m": (101, 0)}, "start_m: \\[101.0, 0.0\\] .*within area_m"),
    ],
)
def test_what_cannot_move_is_refused(given, named):
    with pytest.raises(InputError, match=named):
        Mobility(**given)


def test_limits():
    with pytest.raises(InputError, match="samples: 0"):
        trajectory(Mobility(), 1, 0, 1.0)
    with pytest.raises(InputError, match="samples"):
        trajectory(Mobility(), 1, MAX_SAMPLES + 1, 1.0)
    with pytest.raises(InputError, match="step_s: 0"):
        trajectory(Mobility(), 1, 5, 0.0)
