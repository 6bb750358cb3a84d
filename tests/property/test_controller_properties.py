"""What has to hold for every policy, observation and order of events."""

from __future__ import annotations

import itertools
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airsplit.errors import AirSplitError
from airsplit.layer_range import LayerRange
from controller.decisions import Settings
from controller.estimate import Estimate, SmoothedEstimate
from controller.hysteresis import Hysteresis
from controller.policy import (
    FixedPolicy,
    ModelId,
    Observation,
    Policy,
    ThresholdPolicy,
)
from controller.registry import parse_policy
from controller.sessions import SessionBook

MODEL = ModelId("airsplit-tiny", 16)
PPO = parse_policy("ppo")

anything = st.floats(allow_nan=True, allow_infinity=True)
policies: st.SearchStrategy[Policy] = st.sampled_from([FixedPolicy(7), ThresholdPolicy(), PPO])
ranges = st.tuples(st.integers(0, 16), st.integers(0, 16)).map(
    lambda ends: LayerRange(min(ends), max(ends) + 1)
)


@given(policies, ranges, st.data())
def test_every_policy_answers_every_estimate_within_the_range(
    policy: Policy, splits: LayerRange, data: st.DataObject
) -> None:
    split = data.draw(st.sampled_from(list(splits)))
    smoothed = SmoothedEstimate(0)
    smoothed.update(0, Estimate(*data.draw(st.tuples(*[anything] * 5))))
    now = smoothed.current
    seen = Observation(now.sigma, now.m, now.loss, now.snr_db, split, splits)
    assert policy.decide(seen).split in splits


@given(st.lists(st.floats(0, 10), min_size=2, max_size=2).map(sorted))
def test_the_staircase_never_goes_down_with_noise(sigmas: list[float]) -> None:
    low, high = (
        ThresholdPolicy().decide(Observation(sigma, inf, 0, 0, 4, LayerRange(0, 17))).split
        for sigma in sigmas
    )
    assert low <= high


@given(st.integers(0, 10_000), st.lists(st.integers(0, 10_000), max_size=50))
def test_admitted_changes_are_a_dwell_apart(dwell_ms: int, gaps_ms: list[int]) -> None:
    hysteresis, now_ns, changes = Hysteresis(dwell_ms), 0, []
    for step, gap_ms in enumerate(gaps_ms):
        now_ns += gap_ms * 1_000_000
        if hysteresis.holds(now_ns, step, step + 1) is None:
            hysteresis.changed(now_ns)
            changes.append(now_ns)
    assert all(b - a >= dwell_ms * 1e6 for a, b in itertools.pairwise(changes))


EVENTS = ["report", "commit", "commit late", "reject", "local", "override", "release", "restart"]


@given(
    policies,
    st.lists(
        st.tuples(
            st.sampled_from(EVENTS), st.integers(0, 2_000), st.integers(0, 18), st.floats(0, 6)
        ),
        max_size=40,
    ),
)
def test_the_book_stays_consistent_under_any_order_of_events(
    policy: Policy, events: list[tuple[str, int, int, float]]
) -> None:
    book = SessionBook(policy, Settings())
    splits = LayerRange(0, 17)
    book.start(1, "ue", "s", MODEL, splits, 4)
    now_ns, versions = 0, [0]
    for event, gap_ms, number, sigma in events:
        session = book.get("s")
        before = session.pending
        now_ns += gap_ms * 1_000_000
        decisions = []
        try:
            if event == "report":
                book.observe(session, now_ns, Estimate(sigma=sigma, m=1 + sigma))
                considered = book.consider(session, now_ns)
                decisions = [considered.decision] if considered else []
            elif event == "commit" and session.pending:
                pending = session.pending
                book.commit(session, pending.split, session.split_version + 1, pending.version)
                assert session.split == session.target == pending.split
            elif event == "commit late":
                book.commit(session, number, session.split_version + 1, session.decisions - 1)
            elif event == "reject":
                book.reject(session, session.decisions)
            elif event == "local":
                book.commit(session, number, session.split_version + 1, None)
            elif event == "override":
                decisions = [c.decision for c in book.set_override("s", number, now_ns)]
            elif event == "release":
                book.release("s")
            elif event == "restart":
                book.start(1, "ue", "s", MODEL, splits, number)
        except AirSplitError:
            assert number not in splits
        session = book.get("s")
        for decision in filter(None, decisions):  # a new one, or the last one once more
            assert decision.version > versions[-1] or decision is before
            versions.append(decision.version)
        assert session.split in splits
        assert session.target in splits
        assert (session.pending is None) == (session.target == session.split)
        if session.pending:
            assert session.pending.split == session.target


def test_the_embedded_policy_is_for_the_embedded_model() -> None:
    PPO.check(MODEL)
    with pytest.raises(AirSplitError, match="airsplit-tiny"):
        PPO.check(ModelId("airsplit-tiny", 15))
