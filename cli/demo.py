"""`airsplit demo`: four processes, a channel that goes bad and good again, and a report.

The UE tells stories and scores a text; the controller's PPO policy moves the split of both. What
the demo fixes is in `cli.demo_scenario`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from airsplit.errors import AirSplitError, InputError
from cli.demo_peers import Events, RadioControl
from cli.demo_recording import Recording
from cli.demo_scenario import (
    CONTROLLER,
    DATASET,
    DUET,
    EDGE,
    MODEL,
    POLICY,
    THREADS,
    Scenario,
    flags,
)
from cli.demo_view import view_for
from experiments.stack import START_S, Stack

TICK_S = 0.2
"""Time between two looks at the events, two changes of the radio, two pictures; seconds."""

OVERTIME_S = 20.0
"""The UE may end so much later than it was told to, seconds."""

EPILOG = """examples:
  airsplit demo
  airsplit demo --duration 90 --report /tmp/airsplit-report --seed 7
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    defaults = Scenario()
    parser.epilog = EPILOG
    parser.add_argument(
        "--duration",
        type=float,
        default=defaults.duration_s,
        metavar="S",
        help="of the run itself, 6-3600 seconds (default %(default)g); starting and the report "
        "take about 20 more",
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=Path("report"),
        metavar="DIR",
        help="folder for report.html, PNGs, traces.jsonl and config.toml (default ./report)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=defaults.seed,
        metavar="N",
        help="of the stories and of the radio (default %(default)d)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the demo, writes the report, prints the table.

    Raises:
        InputError: a value is out of its range, or the folder cannot be written.
        AirSplitError: a process did not start, or ended too early.
    """
    scenario = Scenario(args.duration, args.seed)
    require_writable(args.report)
    console = Console()
    with Stack() as stack:
        recording = perform(scenario, stack, console)
    with console.status("drawing the report"):
        from cli.demo_report import final_table, write_report  # matplotlib takes a second

        write_report(args.report, scenario, recording)
    console.print(final_table(scenario, recording))
    console.print(f"report: {args.report / 'report.html'}", highlight=False, soft_wrap=True)
    return 0


def require_writable(folder: Path) -> None:
    """Makes the folder if it is not there.

    Raises:
        InputError: nothing can be written there.
    """
    probe = folder / ".airsplit-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"--report: {str(folder)!r} cannot be written: {error.strerror}"
        ) from error


def perform(scenario: Scenario, stack: Stack, console: Console) -> Recording:
    """Starts everything and watches until the UE has ended.

    Raises:
        AirSplitError: a process did not start, or ended too early.
    """
    say = Progress(console)
    with say:
        say("starting controller and edge server")
        controller = stack.launch(
            "controller", "controller", ["--policy", POLICY, *flags(CONTROLLER)]
        )
        controller.wait_listening()
        edge = stack.launch(
            "edge server",
            "edge_server",
            ["--model", MODEL, "--controller", controller.address, *_threads(), *flags(EDGE)],
        )
        reference = unsplit_reference(say)  # while the edge server loads
        edge.wait_listening()
        say("starting channel emulator")
        emulator = stack.launch(
            "channel emulator",
            "channel_emulator",
            [
                *("--edge", edge.address, "--controller", controller.address),
                *("--channel", scenario.channel, "--seed", str(scenario.seed)),
            ],
        )
        emulator.wait_listening()
        say("starting UE")
        ue = stack.spawn(
            "UE",
            "ue_client",
            [
                *("duet", "--edge", emulator.address, "--controller", controller.address),
                *("--model", MODEL, "--split", "auto", "--seed", str(scenario.seed)),
                *("--dataset", DATASET, "--duration", str(scenario.duration_s)),
                *flags(DUET),
                *_threads(),
            ],
        )
        events = Events(ue)
        first = events.wait(START_S)
    phase, radio = scenario.at(0.0)
    recording = Recording(scenario.duration_s, reference, {1: (phase, radio)})
    recording.take(first)
    watch(scenario, stack, console, events, recording, RadioControl(emulator.address, radio))
    return recording


def watch(
    scenario: Scenario,
    stack: Stack,
    console: Console,
    events: Events,
    recording: Recording,
    control: RadioControl,
) -> None:
    """Turns the radio, takes events in and shows them until the UE has ended."""
    started = time.monotonic()
    with control, view_for(console, scenario) as view:
        while not recording.ended:
            time_s = time.monotonic() - started
            phase, radio = scenario.at(time_s)
            recording.configured.update(control.turn(phase, radio))
            for event in events.pending():
                recording.take(event)
            view.show(time_s, recording)
            if not recording.ended:
                stack.require_running()
            if time_s > scenario.duration_s + OVERTIME_S:
                raise AirSplitError(f"UE did not end within {OVERTIME_S:g} s of its time")
            time.sleep(max(0.0, started + time_s + TICK_S - time.monotonic()))


def unsplit_reference(say: Callable[[str], None]) -> list[list[float]]:
    """What the unsplit model says of every token of the text, window by window."""
    import torch

    from airsplit.checkpoint import Checkpoint, locate
    from airsplit.layer_range import LayerRange
    from airsplit.partition import ModelPartition
    from airsplit.perplexity import unsplit_nll, windows
    from airsplit.text import load_text, load_tokenizer

    torch.set_num_threads(THREADS)
    checkpoint = Checkpoint(locate(MODEL))
    tokenizer = load_tokenizer(checkpoint.path)
    layers = LayerRange(0, int(checkpoint.config.num_hidden_layers))
    partition = ModelPartition(checkpoint, layers)
    ids = tokenizer.encode(load_text(DATASET), add_special_tokens=False)
    texts = list(windows(ids, int(DUET["window"]), tokenizer.bos_token_id))
    nlls = []
    for index, text in enumerate(texts):
        say(f"unsplit reference: window {index + 1} of {len(texts)}")
        nlls.append(unsplit_nll(partition, text))
    return nlls


class Progress:
    """What is being done, on one line of a terminal; elsewhere a line for each new kind of work."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("starting")
        self._said = ""

    def __call__(self, message: str) -> None:
        if self._console.is_terminal:
            self._status.update(message)
        elif message.split(":")[0] != self._said:
            self._said = message.split(":")[0]
            self._console.print(self._said, highlight=False)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()


def _threads() -> list[str]:
    return ["--threads", str(THREADS)]
