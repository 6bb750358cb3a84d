"""The session book: what is committed, what is decided, who overrides whom, with passed-in time."""

from __future__ import annotations

from math import inf, nan

import pytest

from airsplit.errors import (
    InputError,
    ModelMismatchError,
    SessionExistsError,
    SessionLimitError,
    SplitError,
    TransitionError,
    UnknownSessionError,
)
from airsplit.layer_range import LayerRange
from controller.decisions import Settings
from controller.estimate import Estimate
from controller.policy import Action, FixedPolicy, ModelId, Observation, ThresholdPolicy
from controller.sessions import Session, SessionBook

MS = 1_000_000
MODEL = ModelId("airsplit-tiny", 16)
UE = 1


def book_of(policy: object | None = None, **settings: float) -> SessionBook:
    values = {"decision_interval_ms": 100, "min_dwell_ms": 500, "smoothing_ms": 0, **settings}
    policy = policy or ThresholdPolicy("sigma", (1.0, 2.0), (2, 6, 10))
    return SessionBook(policy, Settings(**values))  # type: ignore[arg-type]


def start(book: SessionBook, session_id: str = "s", owner: int = UE, split: int = 4) -> Session:
    return book.start(owner, f"ue-{owner}", session_id, MODEL, LayerRange(0, 17), split)


def report(book: SessionBook, session: Session, now_ms: float, sigma: float) -> int | None:
    """The decided split, None where nothing was decided."""
    book.observe(session, int(now_ms * MS), Estimate(sigma=sigma))
    considered = book.consider(session, int(now_ms * MS))
    return considered.decision.split if considered and considered.decision else None


def test_a_report_leads_to_one_decision_and_its_commit_settles_it() -> None:
    book = book_of()
    session = start(book)
    assert report(book, session, 0, sigma=1.5) == 6
    assert (session.split, session.target, session.decisions) == (4, 6, 1)
    assert report(book, session, 100, sigma=1.5) is None  # on its way already
    book.commit(session, split=6, split_version=2, decided=1)
    assert (session.split, session.target, session.split_version) == (6, 6, 2)
    assert (session.pending, session.switches) == (None, 1)
    assert report(book, session, 1000, sigma=1.5) is None


def test_looks_keep_the_interval() -> None:
    book = book_of(decision_interval_ms=100)
    session = start(book)
    assert book.consider(session, 0) is not None
    assert book.consider(session, 99 * MS) is None
    assert book.consider(session, 100 * MS) is not None


def test_changes_keep_the_dwell() -> None:
    book = book_of(min_dwell_ms=500)
    session = start(book)
    assert report(book, session, 0, sigma=1.5) == 6
    assert report(book, session, 499, sigma=3) is None
    held = book.consider(session, 599 * MS)  # the dwell is over
    assert held is not None
    assert held.decision is not None
    assert held.decision.split == 10


def test_by_tokens_a_look_falls_where_a_multiple_is_reached() -> None:
    """Whatever the clock says, and wherever frames end."""

    def looks(every: int) -> list[int]:
        book = book_of(decision_interval_tokens=every, decision_interval_ms=3_600_000)
        session = start(book)
        return [n for n in range(30, 331, 30) if book.consider(session, 0, tokens=n) is not None]

    assert looks(100) == [120, 210, 300]
    assert looks(60) == [60, 120, 180, 240, 300]
    assert looks(1000) == []


def test_by_tokens_a_report_without_a_count_leads_to_no_look() -> None:
    book = book_of(decision_interval_tokens=32)
    assert book.consider(start(book), 0) is None


def test_a_look_that_moves_nothing_answers_with_what_stands() -> None:
    book = book_of(min_dwell_ms=500)
    session = start(book)
    book.observe(session, 0, Estimate(sigma=1.5))
    moved = book.consider(session, 0, tokens=32)
    book.observe(session, 200 * MS, Estimate(sigma=3))
    held = book.consider(session, 200 * MS, tokens=64)
    assert moved is not None
    assert held is not None
    assert (moved.answer.split, moved.answer.version, moved.answer.tokens) == (6, 1, 32)
    answer = held.answer
    assert (answer.split, answer.version, answer.tokens) == (6, 1, 64)
    assert answer.reason == "held: dwell of 500 ms"


def test_the_operators_word_answers_the_last_look_too() -> None:
    book = book_of(decision_interval_tokens=32)
    session = start(book)
    book.consider(session, 0, tokens=40)
    (considered,) = book.set_override("s", 9, 1)
    assert (considered.answer.split, considered.answer.tokens) == (9, 40)


@pytest.mark.parametrize(("confirmations", "decided"), [(1, [10, 6, 10]), (2, [10]), (3, [6])])
def test_confirmations_reduce_switches(confirmations: int, decided: list[int]) -> None:
    """Noise goes up for two looks, down for one, and up again for one."""
    book = book_of(min_dwell_ms=0, confirmations=confirmations)
    session = start(book)
    splits = [report(book, session, 100 * i, sigma) for i, sigma in enumerate((3, 3, 1.5, 3))]
    assert [split for split in splits if split is not None] == decided


def test_an_unconfirmed_wish_is_named_as_the_reason() -> None:
    book = book_of(confirmations=3)
    session = start(book)
    book.observe(session, 0, Estimate(sigma=3))
    held = book.consider(session, 0)
    assert held is not None
    assert (held.target, held.reason) == (4, "held: wanted 1 of 3 times in a row")


def test_dwell_is_named_as_the_reason() -> None:
    book = book_of(min_dwell_ms=500)
    session = start(book)
    report(book, session, 0, sigma=1.5)
    book.observe(session, 200 * MS, Estimate(sigma=3))
    held = book.consider(session, 200 * MS)
    assert held is not None
    assert (held.decision, held.action.split, held.reason) == (None, 10, "held: dwell of 500 ms")


def test_newer_decision_supersedes_one_that_is_not_committed() -> None:
    book = book_of()
    session = start(book)
    assert report(book, session, 0, sigma=1.5) == 6
    assert report(book, session, 600, sigma=3) == 10
    assert session.pending is not None
    assert session.pending.version == 2
    book.commit(session, split=6, split_version=2, decided=1)  # the old one was already under way
    assert (session.split, session.target) == (6, 10)
    book.commit(session, split=10, split_version=3, decided=2)
    assert (session.split, session.target, session.pending) == (10, 10, None)


def test_decision_back_to_the_committed_split_takes_back_what_was_pending() -> None:
    book = book_of()
    session = start(book, split=2)
    assert report(book, session, 0, sigma=3) == 10
    assert report(book, session, 600, sigma=0) == 2
    assert (session.pending, session.target) == (None, 2)
    assert report(book, session, 1300, sigma=0) is None


def test_rejection_frees_the_target_and_is_tried_again_after_the_dwell() -> None:
    book = book_of()
    session = start(book)
    report(book, session, 0, sigma=3)
    assert not book.reject(session, decided=7)
    assert session.target == 10
    assert book.reject(session, decided=1)
    assert (session.split, session.target, session.pending) == (4, 4, None)
    assert report(book, session, 400, sigma=3) is None
    assert report(book, session, 600, sigma=3) == 10


def test_a_decision_without_an_answer_is_sent_again() -> None:
    """The UE or its answer may have been lost with an attachment."""
    book = book_of(decision_interval_ms=100)
    session = start(book)
    assert report(book, session, 0, sigma=3) == 10
    first = session.pending
    assert report(book, session, 1900, sigma=3) is None
    book.observe(session, 2000 * MS, Estimate(sigma=3))
    again = book.consider(session, 2000 * MS)
    assert again is not None
    assert again.decision is first
    assert again.reason == "again: neither committed nor rejected"
    assert report(book, session, 2100, sigma=3) is None
    assert report(book, session, 4000, sigma=3) == 10
    book.commit(session, split=10, split_version=2, decided=1)
    assert report(book, session, 9000, sigma=3) is None


def test_an_override_without_an_answer_is_sent_again_too() -> None:
    book = book_of()
    session = start(book)
    book.set_override("s", 7, 0)
    assert report(book, session, 1900, sigma=3) is None
    assert report(book, session, 2000, sigma=3) == 7
    session.pinned = True
    assert report(book, session, 4000, sigma=3) == 7


def test_a_decision_waits_for_its_answer_in_proportion_to_the_interval() -> None:
    assert Settings(decision_interval_ms=250).resend_ms == 2000
    assert Settings(decision_interval_ms=1000).resend_ms == 4000


def test_a_local_schedule_moves_the_target_too() -> None:
    book = book_of()
    session = start(book)
    book.commit(session, split=9, split_version=2, decided=None)
    assert (session.split, session.target, session.switches) == (9, 9, 1)


def test_hold_does_not_take_back_what_is_pending() -> None:
    book = book_of()
    session = start(book)
    assert report(book, session, 0, sigma=3) == 10

    class Lost:
        name = "lost"

        def check(self, model: ModelId) -> None: ...

        def decide(self, observation: Observation) -> Action:
            return ThresholdPolicy().decide(
                Observation(nan, nan, nan, nan, observation.split, observation.splits)
            )

    book.policy = Lost()
    assert report(book, session, 1000, sigma=3) is None
    assert session.target == 10


@pytest.mark.parametrize("sigma", [nan, -1.0, inf])
def test_unknown_channel_holds_the_split(sigma: float) -> None:
    book = book_of()
    session = start(book)
    assert report(book, session, 0, sigma) is None
    assert session.target == 4


def test_override_is_at_once_and_outlives_reports_until_released() -> None:
    book = book_of()
    session = start(book)
    report(book, session, 0, sigma=3)
    (considered,) = book.set_override("s", 7, 1 * MS)  # within interval and dwell
    assert considered.decision is not None
    assert (considered.decision.split, considered.decision.reason) == (7, "operator")
    book.commit(session, split=7, split_version=2, decided=2)
    assert report(book, session, 1000, sigma=3) is None
    assert session.target == 7
    book.release("s")
    assert report(book, session, 1001, sigma=3) == 10  # the next report decides


def test_override_that_was_rejected_is_asked_for_again() -> None:
    book = book_of()
    session = start(book)
    book.set_override("s", 7, 0)
    book.reject(session, decided=1)
    assert report(book, session, 600, sigma=3) == 7


def test_override_is_all_or_nothing() -> None:
    book = book_of()
    first = start(book, "a")
    book.start(UE, "ue-1", "b", MODEL, LayerRange(2, 5), 3)
    with pytest.raises(InputError, match=r"^split: 9 is not allowed; allowed: 2-4$"):
        book.set_override("", 9, 0)
    assert first.override is None
    assert [c.decision and c.decision.split for c in book.set_override("", 3, 0)] == [3, None]


def test_override_of_nothing_is_an_error() -> None:
    book = book_of()
    with pytest.raises(UnknownSessionError, match="no session"):
        book.set_override("", 3, 0)
    with pytest.raises(UnknownSessionError, match="'x'"):
        book.set_override("x", 3, 0)
    with pytest.raises(UnknownSessionError):
        book.release("x")


class Broken:
    """Fails in its own way."""

    name = "broken"

    def __init__(self, answer: int | Exception) -> None:
        self.answer = answer

    def check(self, model: ModelId) -> None: ...

    def decide(self, observation: Observation) -> Action:
        if isinstance(self.answer, Exception):
            raise self.answer
        return Action(self.answer)


@pytest.mark.parametrize("answer", [RuntimeError("gone"), ZeroDivisionError("1/0"), 17, -1])
def test_a_broken_policy_holds_the_split(answer: int | Exception) -> None:
    book = book_of(Broken(answer))
    session = start(book)
    considered = book.consider(session, 0)
    assert considered is not None
    assert considered.decision is None
    assert considered.failure is not None
    assert considered.reason.startswith("held: policy failed: ")
    assert session.target == 4
    assert book.set_override("s", 9, 0)[0].decision is not None  # the operator still can


def test_a_policy_for_another_model_is_never_asked() -> None:
    class Other(Broken):
        def check(self, model: ModelId) -> None:
            raise ModelMismatchError("for another")

    book = book_of(Other(AssertionError("asked")))
    considered = book.consider(start(book), 0)
    assert considered is not None
    assert isinstance(considered.failure, ModelMismatchError)


def test_a_vanished_owner_takes_its_sessions_along_but_not_reattached_ones() -> None:
    book = book_of(FixedPolicy(3))
    start(book, "a", owner=1)
    start(book, "b", owner=1)
    start(book, "c", owner=2)
    session = start(book, "b", owner=1)
    session.override, session.decisions = 5, 9
    again = book.start(7, "ue-1", "b", MODEL, LayerRange(0, 17), 4)  # the UE came back
    assert (again.override, again.decisions) == (5, 9)
    assert [gone.session_id for gone in book.drop(1)] == ["a"]
    assert sorted(book.sessions) == ["b", "c"]


def test_starts_are_checked() -> None:
    book = book_of(max_sessions=1)
    with pytest.raises(SplitError, match="split: 17; allowed: 0-16"):
        start(book, split=17)
    with pytest.raises(InputError, match="splits"):
        book.start(UE, "ue-1", "s", MODEL, LayerRange(0, 18), 4)
    with pytest.raises(InputError, match="splits"):
        book.start(UE, "ue-1", "s", MODEL, LayerRange(4, 4), 4)
    start(book)
    with pytest.raises(SessionExistsError, match="ue-1"):
        start(book, owner=2)
    with pytest.raises(SessionLimitError):
        start(book, "another")


def test_only_the_owner_speaks_for_a_session() -> None:
    book = book_of()
    session = start(book)
    assert book.owned(UE, "s") is session
    with pytest.raises(TransitionError, match="ue-1"):
        book.owned(2, "s")
    with pytest.raises(SplitError):
        session.confirm(17, 2)
    with pytest.raises(SplitError):
        book.commit(session, 99, 2, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decision_interval_ms", -1),
        ("min_dwell_ms", nan),
        ("smoothing_ms", inf),
        ("max_sessions", 0),
        ("decision_interval_tokens", -1),
        ("decision_interval_tokens", 1_000_001),
        ("confirmations", 0),
    ],
)
def test_settings_name_the_flag(name: str, value: float) -> None:
    with pytest.raises(InputError, match="--" + name.replace("_", "-")):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_settings_ask_for_two_reports_a_decision() -> None:
    assert Settings(decision_interval_ms=250).report_interval_ms == 125
    assert Settings(decision_interval_ms=0).report_interval_ms == 20
