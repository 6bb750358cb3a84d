"""A real controller process and ends that speak real gRPC to it."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from math import inf, nan
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from airsplit import errors, rpc
from airsplit.v1 import channel_pb2, controller_pb2, controller_pb2_grpc, edge_pb2

TIMEOUT_S = 10.0
LAYERS = 16


class Controller:
    """One `python -m controller` on a free port."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-m", "controller", "--listen", "127.0.0.1:0", *flags]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        first = json.loads(self.process.stdout.readline())
        assert first["service"] == "controller"
        self.address = first["listening"]
        self.channel = rpc.connect(self.address)
        self.stub = controller_pb2_grpc.ControllerStub(self.channel)

    def status(self, session_id: str = "") -> controller_pb2.SplitStatus:
        request = controller_pb2.GetSplitRequest(session_id=session_id)
        return self.stub.GetSplit(request, timeout=TIMEOUT_S)

    def set_split(self, session_id: str = "", **target: Any) -> controller_pb2.SplitStatus:
        request = controller_pb2.SetSplitRequest(session_id=session_id, **target)
        try:
            return self.stub.SetSplit(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise rpc.translate(error, "controller", self.address) from error

    def stop(self) -> str:
        """What it wrote to standard error."""
        self.channel.close()
        self.process.send_signal(signal.SIGTERM)
        _, stderr = self.process.communicate(timeout=TIMEOUT_S)
        assert self.process.returncode == 0, stderr
        return stderr


class End:
    """A fake UE, edge or emulator."""

    def __init__(self, controller: Controller, role: int, name: str) -> None:
        self.name = name
        self.address = controller.address
        self._channel = rpc.connect(controller.address)
        self._outgoing: queue.Queue[controller_pb2.AttachRequest | None] = queue.Queue()
        stub = controller_pb2_grpc.ControllerStub(self._channel)
        self._call = stub.Attach(iter(self._outgoing.get, None), timeout=60)
        hello = controller_pb2.Hello(role=role, id=name)  # type: ignore[arg-type]
        self.send(hello=hello)
        self.attached = self.receive().attached

    def send(self, **message: Any) -> None:
        self._outgoing.put(controller_pb2.AttachRequest(**message))

    def receive(self) -> controller_pb2.AttachResponse:
        """Raises: AirSplitError: the controller refused."""
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise rpc.translate(error, "controller", self.address) from error

    def start(self, session_id: str, split: int = 4, **changes: Any) -> None:
        started = controller_pb2.SessionStarted(
            session_id=session_id,
            ue_id=self.name,
            model=edge_pb2.ModelIdentity(name="airsplit-tiny", layers=LAYERS),
            splits=edge_pb2.Layers(start=0, stop=LAYERS + 1),
            split=split,
        )
        started.MergeFrom(controller_pb2.SessionStarted(**changes))
        self.send(started=started)

    def report(
        self, session_id: str, split: int, sigma: float, m: float = inf, tokens: int = 0
    ) -> None:
        estimate = channel_pb2.ChannelEstimate(sigma=sigma, m=m, omega=1, loss=0, snr_db=10)
        report = controller_pb2.SessionReport(
            session_id=session_id,
            split=split,
            split_version=1,
            channel=channel_pb2.ChannelReport(estimate=estimate),
            stream_offset=tokens,
        )
        self.send(report=report)

    def commit(self, decision: controller_pb2.SplitDecision, split_from: int) -> None:
        committed = controller_pb2.SplitCommitted(
            session_id=decision.session_id,
            split_version=decision.version + 1,
            split_from=split_from,
            split_to=decision.split,
            controller_instance=decision.controller_instance,
            decision_version=decision.version,
        )
        self.send(committed=committed)

    def end(self) -> None:
        """Ends the stream in order."""
        self._outgoing.put(None)
        assert list(self._call) == []

    def vanish(self) -> None:
        self._call.cancel()
        self._outgoing.put(None)
        self._channel.close()


Launch = Callable[..., Controller]


@pytest.fixture
def launch() -> Iterator[Launch]:
    running: list[Controller] = []

    def start(*flags: str) -> Controller:
        running.append(Controller(*flags))
        return running[-1]

    yield start
    for controller in running:
        if controller.process.poll() is None:
            controller.stop()


@pytest.fixture
def attach() -> Iterator[Callable[[Controller, int, str], End]]:
    with contextlib.ExitStack() as stack:

        def enter(controller: Controller, role: int, name: str) -> End:
            end = End(controller, role, name)
            stack.callback(end.vanish)
            return end

        yield enter


Attach = Callable[[Controller, int, str], End]
UE, EDGE, CHANNEL = 1, 2, 3
QUICK = ("--decision-interval-ms", "0", "--min-dwell-ms", "0", "--smoothing-ms", "0")


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ppo_moves_the_split_both_ways(launch: Launch, attach: Attach, tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    controller = launch(*QUICK, "--policy", "ppo", "--decision-log", str(log))
    ue = attach(controller, UE, "ue")
    edge = attach(controller, EDGE, "edge")
    emulator = attach(controller, CHANNEL, "emulator")
    assert len(ue.attached.controller_instance) == 16
    assert (ue.attached.policy, ue.attached.report_interval_ms) == ("ppo", 20)
    ue.start("s", split=4)
    eventually(lambda: len(controller.status().sessions) == 1)

    def committed(split: int) -> Callable[[], bool]:
        return lambda: controller.status("s").sessions[0].split == split

    def seen(sigma: float) -> Callable[[], bool]:
        return lambda: controller.status("s").sessions[0].channel.sigma == sigma

    def settle(sigma: float, split: int, reporter: End) -> int:
        for number in range(LAYERS):
            exact = sigma + number * 1e-3  # to tell that this very report was taken in
            reporter.report("s", split, exact)
            eventually(seen(exact))
            if controller.status("s").sessions[0].target == split:
                return split
            decision = ue.receive().decision
            assert decision.session_id == "s"
            assert decision.reason == "policy"
            assert edge.receive().decision == decision
            ue.commit(decision, split)
            split = decision.split
            eventually(committed(split))
        raise AssertionError("the split never came to rest")

    bad = settle(3.0, 4, ue)
    good = settle(0.1, bad, emulator)
    assert bad >= 8
    assert good <= 4
    status = controller.status("s").sessions[0]
    assert (status.split, status.target, status.overridden) == (good, good, False)
    assert status.switches >= 4
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    decisions = [line for line in lines if line["event"] == "decision"]
    versions = [line["version"] for line in decisions if line["version"]]
    assert versions == list(range(1, status.switches + 1))
    assert sum(line["event"] == "committed" for line in lines) == status.switches
    first = decisions[0]
    assert first["observation"] == {
        "sigma": 3.0, "m": "inf", "loss": 0.0, "snr_db": 10.0, "splits": [0, 17]
    }  # fmt: skip
    assert first["committed"] == 4
    assert first["action"] > 4
    assert sum(first["probabilities"]) == pytest.approx(1, abs=1e-4)
    assert isinstance(first["value"], float)
    assert first["controller_instance"] == ue.attached.controller_instance


def test_operator_overrides_and_releases(launch: Launch, attach: Attach) -> None:
    controller = launch(*QUICK, "--policy", "fixed:2")
    ue, edge = attach(controller, UE, "ue"), attach(controller, EDGE, "edge")
    ue.start("s", split=2)
    eventually(lambda: len(controller.status().sessions) == 1)
    status = controller.set_split("s", split=9)
    assert (status.sessions[0].target, status.sessions[0].overridden) == (9, True)
    decision = ue.receive().decision
    assert (decision.split, decision.reason, decision.version) == (9, "operator", 1)
    assert edge.receive().decision == decision
    ue.commit(decision, 2)
    ue.report("s", 9, sigma=0.0)
    eventually(lambda: controller.status().sessions[0].split == 9)
    assert not controller.set_split(release=True).sessions[0].overridden
    ue.report("s", 9, sigma=0.0)
    decision = ue.receive().decision
    assert (decision.split, decision.reason, decision.version) == (2, "policy", 2)


def test_a_session_whose_user_chose_the_split_is_shown_as_pinned(
    launch: Launch, attach: Attach
) -> None:
    controller = launch("--policy", "fixed:2")
    ue = attach(controller, UE, "ue")
    ue.start("a", pinned=True)
    ue.start("b")
    eventually(lambda: len(controller.status().sessions) == 2)
    assert [s.pinned for s in controller.status().sessions] == [True, False]


def test_the_log_names_who_was_lost_and_a_clean_end_is_no_warning(
    launch: Launch, attach: Attach
) -> None:
    controller = launch("--policy", "fixed:2", "--log-level", "info")
    lost = [attach(controller, UE, "u1"), attach(controller, EDGE, "e1")]
    lost.append(attach(controller, CHANNEL, "c1"))
    lost[0].start("s" * 32)
    done, tidy = attach(controller, UE, "u2"), attach(controller, EDGE, "e2")
    done.start("t" * 32)
    stays = attach(controller, EDGE, "e3")
    eventually(lambda: len(controller.status().sessions) == 2)
    done.send(ended=controller_pb2.SessionEnded(session_id="t" * 32))
    eventually(lambda: len(controller.status().sessions) == 1)
    for end in (*lost, done):
        end.vanish()
    tidy.end()
    eventually(lambda: [hello.id for hello in controller.status().attached] == [stays.name])
    lines = controller.stop().splitlines()
    gone = sorted(line.partition(" WARNING ")[2] for line in lines if " WARNING " in line)
    for line, start in zip(
        gone,
        ("UE 'u1' at ipv", "channel emulator 'c1' at ipv", "edge server 'e1' at ipv"),
        strict=True,
    ):
        assert line.startswith(start)
        assert line.endswith(", session ssssssss ends" if "u1" in line else " is gone")
    detached = [line for line in lines if " INFO " in line and line.endswith(" detached")]
    assert sorted(line.split("'")[1] for line in detached) == ["e2", "e3", "u2"]


def test_operator_errors_are_named(launch: Launch, attach: Attach) -> None:
    controller = launch("--policy", "fixed:2")
    with pytest.raises(errors.UnknownSessionError, match="no session is attached"):
        controller.set_split(split=3)
    ue = attach(controller, UE, "ue")
    ue.start("s", split=2)
    eventually(lambda: len(controller.status().sessions) == 1)
    with pytest.raises(errors.UnknownSessionError, match="'other'"):
        controller.set_split("other", split=3)
    with pytest.raises(errors.InputError, match="split: 17 is not allowed; allowed: 0-16"):
        controller.set_split("s", split=17)
    with pytest.raises(errors.InputError, match="target"):
        controller.set_split("s")
    with pytest.raises(grpc.RpcError, match="'other'"):
        controller.status("other")


def test_newer_decision_supersedes_one_that_is_not_committed(
    launch: Launch, attach: Attach
) -> None:
    controller = launch(*QUICK, "--policy", "threshold")
    ue = attach(controller, UE, "ue")
    ue.start("s", split=4)
    ue.report("s", 4, sigma=10.0)
    first = ue.receive().decision
    ue.report("s", 4, sigma=0.0)
    second = ue.receive().decision
    assert second.version == first.version + 1
    assert second.split < first.split
    # The UE commits the first all the same: it was under way already.
    ue.commit(first, 4)
    eventually(lambda: controller.status().sessions[0].split == first.split)
    assert controller.status().sessions[0].target == second.split
    late = attach(controller, EDGE, "late edge")
    assert late.receive().decision == second  # it still has to prepare that


def test_decisions_keep_interval_and_dwell(launch: Launch, attach: Attach) -> None:
    controller = launch("--policy", "threshold", "--smoothing-ms", "0", "--min-dwell-ms", "3600000")
    ue = attach(controller, UE, "ue")
    ue.start("s", split=4)
    ue.report("s", 4, sigma=10.0)
    assert ue.receive().decision.version == 1
    ue.report("s", 4, sigma=0.0)
    time.sleep(0.3)  # longer than the interval: the dwell has to hold it
    ue.report("s", 4, sigma=0.0)
    eventually(lambda: controller.status().sessions[0].channel.sigma == 0.0)
    assert controller.status().sessions[0].target > 4


def test_by_tokens_each_report_that_is_due_is_answered(launch: Launch, attach: Attach) -> None:
    """Be it to stay; and what others report counts for nothing."""
    flags = ("--decision-interval-tokens", "32", "--min-dwell-ms", "0", "--smoothing-ms", "0")
    controller = launch(*flags, "--policy", "threshold")
    ue, emulator = attach(controller, UE, "ue"), attach(controller, CHANNEL, "emulator")
    edge = attach(controller, EDGE, "edge")
    assert ue.attached.report_interval_tokens == 32
    ue.start("s", split=4)
    eventually(lambda: len(controller.status().sessions) == 1)
    emulator.report("s", 4, sigma=5.0, tokens=64)
    answers, passed_on = [], []
    for tokens, sigma, is_due, is_new in (
        (31, 0.3, False, False),
        (40, 0.3, True, True),
        (63, 5.0, False, False),
        (64, 0.3, True, False),
        (96, 1.5, True, True),
    ):
        ue.report("s", 4, sigma=sigma, tokens=tokens)
        if is_due:  # it waits, as a newer answer takes the place of an unsent one
            answers.append(ue.receive().decision)
        if is_new:
            passed_on.append(edge.receive().decision.version)
    # The session stays where it is: nothing is ever committed.
    assert [(a.stream_offset, a.split, a.version) for a in answers] == [
        (40, 3, 1), (64, 3, 1), (96, 7, 2)
    ]  # fmt: skip
    assert passed_on == [1, 2]


def test_unknown_channel_and_another_model_hold_the_split(launch: Launch, attach: Attach) -> None:
    controller = launch(*QUICK)
    ue = attach(controller, UE, "ue")
    ue.start("blind", split=4)
    ue.report("blind", 4, sigma=nan)
    ue.start("other", split=4, model=edge_pb2.ModelIdentity(name="llama"))
    ue.report("other", 4, sigma=3.0)
    ue.start("seen", split=4)
    ue.report("seen", 4, sigma=3.0)
    assert ue.receive().decision.session_id == "seen"
    targets = {s.session_id: s.target for s in controller.status().sessions}
    assert (targets["blind"], targets["other"]) == (4, 4)
    assert targets["seen"] > 4
    ue.vanish()
    assert "trained for airsplit-tiny" in controller.stop()


def test_restarted_controller_has_another_instance(launch: Launch, attach: Attach) -> None:
    instances = set()
    for _ in range(2):
        controller = launch("--policy", "fixed:1")
        instances.add(controller.status().controller_instance)
        controller.stop()
    assert len(instances) == 2


UE_PROGRAM = """
import sys, time
from tests.integration.test_controller_service import End, UE
class At: address = sys.argv[1]
ue = End(At, UE, "doomed")
ue.start("s")
print("started", flush=True)
time.sleep(60)
"""


def test_killed_ue_takes_its_sessions_along(launch: Launch, attach: Attach) -> None:
    controller = launch("--policy", "fixed:1")
    survivor = attach(controller, UE, "survivor")
    survivor.start("t")
    with subprocess.Popen(
        [sys.executable, "-c", UE_PROGRAM, controller.address],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    ) as doomed:
        assert doomed.stdout
        assert doomed.stdout.readline() == "started\n"
        eventually(lambda: len(controller.status().sessions) == 2)
        doomed.kill()
    eventually(lambda: [s.session_id for s in controller.status().sessions] == ["t"])
    assert [hello.id for hello in controller.status().attached] == ["survivor"]


def test_ended_session_is_removed(launch: Launch, attach: Attach) -> None:
    controller = launch("--policy", "fixed:1")
    ue = attach(controller, UE, "ue")
    ue.start("s")
    eventually(lambda: len(controller.status().sessions) == 1)
    ue.send(ended=controller_pb2.SessionEnded(session_id="s"))
    eventually(lambda: len(controller.status().sessions) == 0)
    ue.report("s", 4, sigma=1.0)  # late, and no error
    ue.start("again")
    eventually(lambda: len(controller.status().sessions) == 1)


def test_slow_end_does_not_block_others(launch: Launch, attach: Attach) -> None:
    """An edge that never reads, and thousands of decisions: the UE gets its last one."""
    controller = launch(*QUICK, "--policy", "fixed:1")
    ue = attach(controller, UE, "ue")
    attach(controller, EDGE, "edge that does not read")
    ue.start("s", split=1)
    eventually(lambda: len(controller.status().sessions) == 1)
    for number in range(2000):
        controller.set_split("s", split=2 + number % 2)
    controller.set_split("s", split=9)
    received = [ue.receive().decision]
    while received[-1].split != 9:
        received.append(ue.receive().decision)
    assert received[-1].version == 2001
    versions = [decision.version for decision in received]
    assert versions == sorted(set(versions))


def _first(controller: Controller, **message: Any) -> errors.AirSplitError:
    """The error that a first message is answered with."""
    with pytest.raises(grpc.RpcError) as caught:
        next(controller.stub.Attach(iter([controller_pb2.AttachRequest(**message)]), timeout=5))
    return rpc.translate(caught.value, "controller", controller.address)


def test_bad_attachments_are_refused_by_name(launch: Launch, attach: Attach) -> None:
    controller = launch("--policy", "fixed:1")
    error = _first(controller, report=controller_pb2.SessionReport(session_id="s"))
    assert isinstance(error, errors.TransitionError)
    assert str(error) == "report came first; allowed: hello"
    assert isinstance(_first(controller), errors.TransitionError)
    error = _first(controller, hello=controller_pb2.Hello(id="x"))
    assert isinstance(error, errors.InputError)
    assert str(error).startswith("role: 0")
    error = _first(controller, hello=controller_pb2.Hello(role=UE))  # type: ignore[arg-type]
    assert isinstance(error, errors.InputError)
    assert str(error).startswith("id: ''")
    assert list(controller.status().attached) == []


@pytest.mark.parametrize(
    ("role", "message", "error"),
    [
        (UE, {"hello": controller_pb2.Hello(id="again")}, errors.TransitionError),
        (EDGE, {"started": controller_pb2.SessionStarted()}, errors.TransitionError),
        (CHANNEL, {"ended": controller_pb2.SessionEnded()}, errors.TransitionError),
        (UE, {"started": controller_pb2.SessionStarted(ue_id="other")}, errors.TransitionError),
        (UE, {"started": controller_pb2.SessionStarted(ue_id="end")}, errors.InputError),
        (UE, {}, errors.TransitionError),
    ],
)
def test_messages_out_of_place_are_refused_by_name(
    controller_fixed: Controller,
    attach: Attach,
    role: int,
    message: dict[str, Any],
    error: type[errors.AirSplitError],
) -> None:
    end = attach(controller_fixed, role, "end")
    end.send(**message)
    with pytest.raises(error):
        end.receive()
    eventually(lambda: list(controller_fixed.status().attached) == [])


@pytest.fixture(scope="module")
def controller_fixed() -> Iterator[Controller]:
    controller = Controller("--policy", "fixed:1")
    yield controller
    controller.stop()


def test_health_is_served(controller_fixed: Controller) -> None:
    stub = health_pb2_grpc.HealthStub(controller_fixed.channel)
    request = health_pb2.HealthCheckRequest(service="airsplit.v1.Controller")
    assert stub.Check(request, timeout=TIMEOUT_S).status == health_pb2.HealthCheckResponse.SERVING


def test_serving_needs_no_torch() -> None:
    program = (
        "import sys, controller.__main__, controller.registry as r; r.parse_policy('ppo');"
        "print([m for m in ('torch', 'stable_baselines3', 'gymnasium', 'transformers')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--policy", "dqn"], "--policy: 'dqn' is not allowed"),
        (["--policy", "ppo:/nowhere"], "/nowhere/policy.json: cannot be read"),
        (["--listen", "nowhere"], "--listen: 'nowhere' is not allowed"),
        (["--min-dwell-ms", "-1"], "--min-dwell-ms: -1.0 is not allowed"),
        (["--min-dwell-ms", "x"], "argument --min-dwell-ms: invalid float value"),
        (["--decision-log", "/nowhere/log"], "--decision-log: /nowhere/log cannot be written"),
        (["--surprise"], "unrecognized arguments: --surprise"),
    ],
)
def test_bad_flags_are_one_line_and_exit_code_2(flags: list[str], why: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "controller", "--listen", "127.0.0.1:0", *flags],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"controller: error: {why}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_port_in_use_is_one_line(controller_fixed: Controller) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "controller", "--listen", controller_fixed.address],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert controller_fixed.address in done.stderr
    assert done.stderr.count("\n") == 1
