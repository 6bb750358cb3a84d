"""The radio's speed: elements per second by itself, microseconds and Gbit/s through sockets.

1. `Radio.transmit` of float32 tokens of 4096 elements, checks and truth included, against the same
   arithmetic in plain numpy (SFC64 in bulk: no keys, no replay, no report) and against Sionna's
   AWGN and flat-fading blocks, where `pip install -e '.[bench]'` has brought it. Ours are real
   elements; a complex element of Sionna's counts as two. `elements_per_second` is by the wall
   clock, `elements_per_cpu_second` by the CPU time of the one thread that works, which other load
   on the machine moves less. `ours_2_threads` and `sionna_2_threads`: two sessions, each on a
   thread of its own, and torch's two threads; `two_thread_scaling` is those over one, by the wall
   clock: it needs two idle cores.
2. Round trips of 8 KiB frames and a stream of 1 MiB frames under the edge's credits to an echo
   edge: direct, through a payload-blind proxy, and through the emulator, ideal and impaired.

All in one run, in alternating blocks; medians are reported, since absolute times on a shared
machine are noise. Prints one JSON object last.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import proxy
import torch

from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.spec import parse_channel
from experiments.stack import Stack

HIDDEN = proxy.HIDDEN
SIGMA = 0.1
SEED = 1
CHANNELS = {
    "awgn": f"awgn,sigma={SIGMA},seed={SEED}",
    "token_fading": f"nakagami,fading=token,m=1,h_th=0,sigma={SIGMA},seed={SEED}",
    "element_fading": f"nakagami,fading=element,m=1,h_th=0,sigma={SIGMA},seed={SEED}",
}
IMPAIRED = f"nakagami,fading=token,m=1,h_th=0.1,snr_db=20,loss=0.05,seed={SEED}"
"""Fading, noise and erasures at once, for the way through the sockets."""

TWO_THREADS = "_2_threads"

Transmit = Callable[[], object]


def ours(channel: str, tokens: int, seed: int = SEED) -> Transmit:
    """Sends the same values at ever later positions."""
    config = parse_channel(channel)
    radio = Radio(config)
    values = np.random.default_rng(seed).standard_normal((tokens, HIDDEN), dtype=np.float32)
    position = 0

    def transmit() -> object:
        nonlocal position
        place = Place.replay(config, tokens, stream=seed, position=position)
        position += tokens
        return radio.transmit(values, place, item_bytes=2)

    return transmit


def plain_numpy(kind: str, tokens: int) -> Transmit:
    """h x + n with bulk draws."""
    generator = np.random.Generator(np.random.SFC64(SEED))
    values = generator.standard_normal((tokens, HIDDEN), dtype=np.float32)
    width = {"awgn": 0, "token_fading": 1, "element_fading": HIDDEN}[kind]

    def transmit() -> object:
        received = generator.standard_normal(values.shape, dtype=np.float32)
        received *= np.float32(SIGMA)
        if width:
            h = generator.standard_exponential((tokens, width), dtype=np.float32)
            received += values * np.sqrt(h, out=h)
        else:
            received += values
        return received

    return transmit


def sionna(kind: str, tokens: int) -> Transmit:
    """Sionna's blocks on complex elements, half as many as ours are real ones.

    Raises:
        ImportError: it is not installed.
    """
    blocks = importlib.import_module("sionna.phy.channel")
    shape = (tokens, HIDDEN // 2)
    values = torch.complex(torch.randn(shape), torch.randn(shape))
    no = torch.tensor(2 * SIGMA**2)  # of both dimensions
    awgn = blocks.AWGN(device="cpu")
    if kind == "awgn":
        return lambda: awgn(values, no)
    if kind == "element_fading":
        flat = blocks.FlatFadingChannel(num_tx_ant=1, num_rx_ant=1, device="cpu")
        column = values.reshape(-1, 1)
        return lambda: flat(column, no)
    generate = blocks.GenerateFlatFadingChannel(num_tx_ant=1, num_rx_ant=1, device="cpu")
    return lambda: awgn(generate(tokens)[:, :, 0] * values, no)


def elements_per_second(
    transmits: Sequence[Transmit], elements: int, seconds: float
) -> tuple[float, float]:
    """Of all of them together, each on a thread of its own, for about `seconds`.

    Returns:
        Per second, and per second of CPU time of these threads.
    """
    counts, busy_s = [0] * len(transmits), [0.0] * len(transmits)

    def work(number: int) -> None:
        until, idle_s = time.perf_counter() + seconds, time.thread_time()
        while time.perf_counter() < until:
            transmits[number]()
            counts[number] += 1
        busy_s[number] = time.thread_time() - idle_s

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, len(transmits))]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    work(0)
    for thread in threads:
        thread.join()
    sent = sum(counts) * elements
    return sent / (time.perf_counter() - started), sent / sum(busy_s)


def compare_radios(
    kind: str, tokens: int, blocks: int, seconds: float
) -> dict[str, dict[str, float]]:
    """By what is measured, of each contender: medians over the blocks."""
    two = [ours(CHANNELS[kind], tokens, seed) for seed in (SEED, SEED + 1)]
    contenders: dict[str, tuple[list[Transmit], int]] = {
        "ours": (two[:1], 1),
        "ours_2_threads": (two, 1),
        "numpy": ([plain_numpy(kind, tokens)], 1),
    }
    if importlib.util.find_spec("sionna"):
        contenders["sionna"] = ([sionna(kind, tokens)], 1)
        contenders["sionna_2_threads"] = ([sionna(kind, tokens)], 2)
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for block in range(blocks + 1):
        for name, (transmits, torch_threads) in contenders.items():
            torch.set_num_threads(torch_threads)
            rate = elements_per_second(transmits, tokens * HIDDEN, seconds)
            if block:  # the first one warms up
                rates[name].append(rate)
    torch.set_num_threads(1)
    wall, cpu = (
        {name: statistics.median(rate[clock] for rate in rates[name]) for name in rates}
        for clock in (0, 1)
    )
    alone = [name for name in rates if not name.endswith(TWO_THREADS)]
    pairs = [(name, name + TWO_THREADS) for name in alone if name + TWO_THREADS in rates]
    return {
        "elements_per_second": {name: round(rate) for name, rate in wall.items()},
        "elements_per_cpu_second": {name: round(cpu[name]) for name in alone},
        "two_thread_scaling": {one: round(wall[both] / wall[one], 2) for one, both in pairs},
    }


def compare_proxies(frames: int, chunks: int, blocks: int) -> dict[str, dict[str, float]]:
    """Added microseconds and Gbit/s: medians over the blocks.

    Of a block's round trips the median, and beside it the mean: a radio that draws for several
    frames at once is late for one of them.
    """
    order = random.Random(SEED)  # noqa: S311
    edge, edge_address = proxy.start(proxy.echo_edge)
    blind, blind_address = proxy.start(proxy.blind_proxy, edge_address)
    addresses = {"direct": edge_address, "blind": blind_address}
    times: dict[str, list[float]] = {}
    means: dict[str, list[float]] = {}
    rates: dict[str, list[float]] = {}
    try:
        with Stack() as stack:
            for name, channel in (("ideal", "ideal"), ("impaired", IMPAIRED)):
                arguments = ["--edge", edge_address, "--channel", channel]
                emulator = stack.launch(name, "channel_emulator", arguments)
                emulator.wait_listening()
                addresses[name] = emulator.address
            probers = {name: proxy.Prober(address, SEED) for name, address in addresses.items()}
            for block in range(blocks + 1):
                round_trips = proxy.round_trips_us(probers, frames, order)
                for name, prober in probers.items():
                    rate = prober.gbit_per_second(chunks)
                    if block:
                        times.setdefault(name, []).append(statistics.median(round_trips[name]))
                        means.setdefault(name, []).append(statistics.mean(round_trips[name]))
                        rates.setdefault(name, []).append(rate)
            for prober in probers.values():
                prober.close()
    finally:
        for process in (blind, edge):
            process.kill()
    trip = {name: statistics.median(found) for name, found in times.items()}
    mean = {name: statistics.median(found) for name, found in means.items()}
    added = {name: trip[name] - trip["direct"] for name in list(addresses)[1:]}
    return {
        "round_trip_us": {name: round(us, 1) for name, us in trip.items()},
        "proxy_added_us": {name: round(us, 1) for name, us in added.items()},
        "proxy_added_mean_us": {name: round(mean[name] - mean["direct"], 1) for name in added},
        "proxy_added_ratio": {
            name: round(added[name] / added["blind"], 2) for name in ("ideal", "impaired")
        },
        "proxy_gbit_per_second": {
            name: round(statistics.median(found), 3) for name, found in rates.items()
        },
    }


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo", "model name")]
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("airsplit", "numpy", "numba", "torch", "grpcio", "protobuf", "sionna-no-rt"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "cpu": names[0] if names else platform.processor(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "versions": versions,
    }


def _lines(path: str, start: str) -> list[str]:
    file = Path(path)
    return (
        [x for x in file.read_text().splitlines() if x.startswith(start)] if file.exists() else []
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", default="4096,65536,1048576,4194304", help="elements a call")
    parser.add_argument("--frames", type=int, default=200, help="8 KiB frames a block")
    parser.add_argument("--chunks", type=int, default=48, help="1 MiB frames a block")
    parser.add_argument("--blocks", type=int, default=9, help="blocks of each contender")
    parser.add_argument("--seconds", type=float, default=0.1, help="length of an element block")
    parser.add_argument("--only", choices=("elements", "proxy"), help="one part alone")
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    args = parser.parse_args()
    sizes = [int(size) for size in args.sizes.split(",")]
    if any(size <= 0 or size % HIDDEN for size in sizes):
        parser.error(f"--sizes: {args.sizes}; allowed: multiples of {HIDDEN}")
    configuration = {
        **{name: value for name, value in vars(args).items() if name not in ("json", "sizes")},
        **{"sizes": sizes, "hidden": HIDDEN, "seed": SEED, "credits": proxy.CREDITS},
        **{"channels": CHANNELS, "impaired": IMPAIRED, "payload": "fp16"},
    }
    found: dict[str, Any] = {"configuration": configuration, "machine": machine()}
    if not args.json and not importlib.util.find_spec("sionna"):
        print("sionna is not installed (pip install -e '.[bench]'): skipped")
    if args.only != "proxy":
        for kind, size in itertools.product(CHANNELS, sizes):
            compared = compare_radios(kind, size // HIDDEN, args.blocks, args.seconds)
            for measure, by_contender in compared.items():
                found.setdefault(measure, {}).setdefault(kind, {})[str(size)] = by_contender
            if not args.json:
                print(f"{kind}, {size} elements: {compared}")
    if args.only != "elements":
        found |= compare_proxies(args.frames, args.chunks, args.blocks)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
