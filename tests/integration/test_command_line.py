"""Whatever is wrong on a command line is one line on standard error and exit code 2.

Programs run in this process where that is the same; a few run as real processes.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import cli.main
import edge_server.__main__
import ue_client.__main__
from airsplit.partition import ModelPartition
from tests import families
from tests.serving import edge_serving

pytestmark = pytest.mark.timeout(60)

Main = Callable[[Sequence[str]], int]
Check = Callable[..., None]

AIRSPLIT, EDGE, UE = cli.main.main, edge_server.__main__.main, ue_client.__main__.main
NOBODY = "127.0.0.1:1"
"""A privileged port that nobody listens on."""


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The command handles SIGTERM; give it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def refuses(capfd: pytest.CaptureFixture[str]) -> Check:
    """Checks that a program refuses its arguments in one line that names all of `says`."""

    def check(main: Main, arguments: Sequence[str], *says: str) -> None:
        capfd.readouterr()
        try:
            code = main(arguments)
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else -1
        captured = capfd.readouterr()
        require_one_line(code, captured.out, captured.err, says)

    return check


def require_one_line(code: int, out: str, err: str, says: Sequence[str]) -> None:
    assert code == 2, err
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    assert ": error: " in err
    for part in says:
        assert part in err


@pytest.fixture
def taken() -> Iterator[str]:
    """An address at which somebody else listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield f"127.0.0.1:{other.getsockname()[1]}"


def readable(value: str | list[str]) -> str:
    """A test's name from its arguments."""
    return value if isinstance(value, str) else " ".join(value)[:40]


EDGE_FLAGS = [
    (["--max-sessions", "0"], ["--max-sessions: 0", "allowed: 1 to"]),
    (["--max-sessions", "many"], ["--max-sessions", "'many'"]),
    (["--kv-budget-mib", "-1"], ["--kv-budget-mib: -1.0", "allowed: above 0"]),
    (["--kv-budget-mib", "inf"], ["--kv-budget-mib: inf"]),
    (["--max-context", "0"], ["--max-context: 0"]),
    (["--credits", "0"], ["--credits: 0"]),
    (["--idle-timeout", "0"], ["--idle-timeout: 0.0"]),
    (["--threads", "0"], ["--threads: 0"]),
    (["--dtype", "int8"], ["--dtype: 'int8'", "allowed: fp32, fp16, bf16"]),
    (["--device", "cuda:99"], ["--device: 'cuda:99'", "allowed: cpu, cuda"]),
    (["--layers", "4:9"], ["--layers: '4:9'", "a range that ends at 16"]),
    (["--layers", "x"], ["--layers: 'x'", "START:STOP with 0 <= START <= STOP <= 16"]),
    (["--listen", "here"], ["--listen: 'here'", "HOST:PORT"]),
    (["--controller", "here:"], ["--controller: 'here:'", "HOST:PORT"]),
    (["--log-level", "loud"], ["--log-level", "'loud'"]),
    (["--model", "/no/such/model"], ["--model: '/no/such/model' is not a directory"]),
    (["--bogus"], ["--bogus"]),
]


@pytest.mark.parametrize(("flags", "says"), EDGE_FLAGS, ids=readable)
def test_edge_flags(refuses: Check, flags: list[str], says: list[str]) -> None:
    refuses(EDGE, ["--listen", "127.0.0.1:0", *flags], "edge_server: error: ", *says)
    refuses(AIRSPLIT, ["serve", "edge", "--listen", "127.0.0.1:0", *flags], "airsplit", *says)


def test_a_port_in_use(refuses: Check, taken: str) -> None:
    says = f"--listen: {taken} cannot be bound: Address already in use"
    refuses(EDGE, ["--listen", taken], says)
    refuses(AIRSPLIT, ["serve", "edge", "--listen", taken], says)
    refuses(AIRSPLIT, ["serve", "channel", "--edge", NOBODY, "--listen", taken], says)


UE_FLAGS = [
    (["--edge", "nowhere"], ["--edge: 'nowhere'", "HOST:PORT"]),
    (["--controller", "c:99999"], ["--controller: 'c:99999'", "0-65535"]),
    (["--split", "-1"], ["--split", "-1"]),
    (["--split", "half"], ["--split: 'half'", "a layer count 0-L, or auto"]),
    (["--split", "auto"], ["--split: auto needs a --controller"]),
    (["--switch-schedule", "3"], ["--switch-schedule: '3'", "INDEX:SPLIT"]),
    (["--deadline", "0"], ["--deadline: 0.0", "above 0"]),
    (["--seed", "-1"], ["--seed: -1", "0 to 2^64 - 1"]),
    (["--threads", "0"], ["--threads: 0", ">= 1"]),
    (["--dtype", "fp8"], ["--dtype: 'fp8'", "fp32, fp16, bf16"]),
    (["--wire-dtype", "fp8"], ["--wire-dtype: 'fp8'", "fp32, fp16, bf16"]),
    (["--model", "/no/such/model"], ["--model: '/no/such/model' is not a directory"]),
    (["--layers", "2:4"], ["--layers: '2:4'", "a range that begins at 0"]),
    (["--layers", "0:17"], ["--layers: '0:17'", "STOP <= 16"]),
    (["--bogus"], ["--bogus"]),
    ([], [f"edge server at {NOBODY} is unavailable"]),
]


@pytest.mark.parametrize(("flags", "says"), UE_FLAGS, ids=readable)
def test_ue_flags(refuses: Check, flags: list[str], says: list[str]) -> None:
    arguments = ["--edge", NOBODY, "--split", "3", "--deadline", "0.2", *flags]
    refuses(UE, ["score", *arguments], "ue_client", *says)
    refuses(AIRSPLIT, ["generate", *arguments], "airsplit", *says)


@pytest.fixture(scope="module")
def edge(whole: ModelPartition) -> Iterator[str]:
    with edge_serving(whole) as (address, _):
        yield address


TASK_FLAGS = [
    ("generate", ["--max-new-tokens", "0"], ["--max-new-tokens: 0", ">= 1"]),
    ("generate", ["--temperature", "-1"], ["--temperature: -1.0", "0 (greedy) to 100"]),
    ("generate", ["--temperature", "nan"], ["--temperature: nan"]),
    ("generate", ["--top-p", "0"], ["--top-p: 0.0", "above 0, up to 1"]),
    ("generate", ["--top-k", "-1"], ["--top-k: -1"]),
    ("score", ["--window", "1"], ["--window: 1", ">= 2"]),
    ("score", ["--max-tokens", "0"], ["--max-tokens: 0", ">= 1"]),
    ("score", ["--chunk", "0"], ["--chunk: 0", ">= 1"]),
]


@pytest.mark.parametrize(("task", "flags", "says"), TASK_FLAGS, ids=readable)
def test_task_flags_are_refused_before_anything_starts(
    refuses: Check, edge: str, task: str, flags: list[str], says: list[str]
) -> None:
    refuses(UE, [task, "--edge", edge, "--split", "3", *flags], *says)
    refuses(AIRSPLIT, [task, "--split", "3", *flags], *says)


@pytest.mark.parametrize(
    ("task", "flags", "says"),
    [
        ("score", ["--split", "17"], ["--split: 17", "0-16 (held by both ends)"]),
        ("score", ["--switch-schedule", "3:17"], ["--switch-schedule: 17", "0-16"]),
        ("score", ["--layers", "0:2"], ["--split: 3", "0-2 (held by both ends)"]),
        ("score", ["--window", "1025"], ["--window: 1025", "2-1024 tokens"]),
        ("score", ["--dataset", "no-such"], ["--dataset: 'no-such'", "sample, wikitext-2"]),
        ("score", ["--dataset", "/dev/null"], ["--dataset: '/dev/null'"]),
        ("score", ["--dtype", "bf16"], ["model.dtype", "the edge"]),
        (
            "score",
            ["--traces", "/no/such/file", "--max-tokens", "4"],
            ["--traces", "/no/such/file"],
        ),
        ("generate", ["--prompt", "word " * 2000], ["--prompt", "tokens"]),
        ("generate", ["--policy", "ppo"], ["--policy: is for services started here"]),
        ("generate", ["--channel", "awgn"], ["--channel: is for services started here"]),
    ],
    ids=readable,
)
def test_what_only_the_edge_can_tell(
    refuses: Check, edge: str, task: str, flags: list[str], says: list[str]
) -> None:
    refuses(AIRSPLIT, [task, "--edge", edge, "--split", "3", *flags], f"airsplit {task}", *says)


def test_another_model_than_the_edges(refuses: Check, edge: str, tmp_path: Path) -> None:
    families.make("llama", tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        source = Path(cli.main.__file__).parents[1] / "airsplit/assets/airsplit-tiny" / name
        (tmp_path / name).write_bytes(source.read_bytes())
    arguments = ["generate", "--edge", edge, "--split", "3", "--model", str(tmp_path)]
    refuses(AIRSPLIT, arguments, "model.layers: the UE runs", "with 4, the edge 'test' with 16")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bogus"], ["'bogus'"]),
        (["--bogus"], ["--bogus"]),
        (["generate", "--split"], ["--split", "expected one argument"]),
        (["generate", "--split", "3", "--policy", "ppo"], ["--policy: needs --split auto"]),
        (["generate", "--split", "3", "--channel", "rayleigh"], ["'rayleigh'", "awgn"]),
        (["generate", "--split", "3", "--channel", "awgn,sigma=x"], ["sigma", "'x'"]),
        (["generate", "--split", "3", "--model", "/no/such"], ["--model: '/no/such'"]),
        (["serve"], ["SERVICE"]),
        (["serve", "radio"], ["'radio'"]),
        (["serve", "channel", "--edge", "x"], ["--edge: 'x'", "HOST:PORT"]),
        (["serve", "controller", "--policy", "oracle"], ["--policy", "oracle"]),
        (["split", "set", "x"], ["N: 'x'", "a layer count 0-L"]),
        (["split", "set", "²"], ["N: '²'"]),
        (["split", "set", "99999999999"], ["N: '99999999999'"]),
        (["split", "set"], ["N"]),
        (["split", "show", "--controller", "x"], ["--controller: 'x'", "HOST:PORT"]),
        (["split", "show", "--controller", NOBODY], [f"controller at {NOBODY} is unavailable"]),
        (["channel", "set"], ["KEY=VALUE"]),
        (["channel", "show", "--channel", "x"], ["--channel: 'x'", "HOST:PORT"]),
        (["channel", "show", "--channel", NOBODY], [f"channel emulator at {NOBODY} is unavail"]),
        (["channel", "set", "sigma=1", "--channel", NOBODY], [f"{NOBODY} is unavailable"]),
    ],
    ids=readable,
)
def test_airsplit(refuses: Check, arguments: list[str], says: list[str]) -> None:
    refuses(AIRSPLIT, arguments, *says)


def test_real_processes(taken: str) -> None:
    """Exit codes and standard error as a shell sees them; they start together to save time."""
    wanted = {
        ("edge_server", "--listen", taken): f"edge_server: error: --listen: {taken} cannot be",
        ("ue_client", "score", "--edge", NOBODY, "--split", "3", "--deadline", "0.5"): (
            f"ue_client: error: edge server at {NOBODY} is unavailable"
        ),
        ("cli.main", "generate", "--model", "/no/such/model", "--split", "3"): (
            "airsplit generate: error: --model: '/no/such/model' is not a directory"
        ),
    }
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen([sys.executable, "-m", *command], stdout=pipe, stderr=pipe, text=True)
        for command in wanted
    ]
    for process, says in zip(running, wanted.values(), strict=True):
        out, err = process.communicate(timeout=90)
        require_one_line(process.returncode, out, err, [says])
