"""What a worker of `experiments.collect` does, in a process of its own."""

from __future__ import annotations

import os
import time
from multiprocessing import connection, parent_process
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from airsplit.errors import AirSplitError
from airsplit.partition import ModelPartition
from experiments.prefixes import Floats, Prefixes, batches
from experiments.scoring import Scorer

if TYPE_CHECKING:
    from experiments.collect import CollectConfig, Task

_worker: list[Scorer | AirSplitError] = []
"""This process's scorer, where this process is a worker; or why it has none."""

_all_begun: list[Barrier] = []
"""Where this process is a worker: of all of them."""


def begin(
    config: CollectConfig,
    all_begun: Barrier,
    devices: Any,
    splits: tuple[int, ...],
    hidden: Path,
    ids: NDArray[np.int64],
    clean: Floats,
) -> None:
    """Makes this process a worker, on one of `devices`, with the prefixes of the file `hidden`.

    What goes wrong on purpose is raised by what is asked for later: an error here would only tell
    the pool that a worker has gone.
    """
    Thread(target=_end_with_parent, daemon=True).start()
    _all_begun.append(all_begun)
    torch.set_num_threads(config.threads)
    try:
        partition = config.load(devices.get())
        if config.compile:  # now, so that it is in no record's seconds
            warm_up(partition, ids)
    except AirSplitError as error:
        _worker.append(error)
        return
    mapped = np.load(hidden, mmap_mode="c", allow_pickle=False)  # the radio's kernels refuse "r"
    _worker.append(Scorer(partition, Prefixes(splits, mapped, ids, clean)))


def warm_up(partition: ModelPartition, ids: NDArray[np.int64]) -> None:
    """Runs a batch of each size that `ids` [windows, tokens] is cut into.

    One window is compiled apart from several.
    """
    sizes = {part.stop - part.start: part for part in batches(partition.device, *ids.shape)}
    for part in sizes.values():
        Prefixes.of(partition, ids[part], ())


def is_ready() -> None:
    """Returns once all workers have been asked. Raises: AirSplitError: why this one cannot work."""
    _all_begun[0].wait()
    _scorer()


def in_worker(task: Task) -> tuple[Floats, float]:
    """As `measure`, in a worker. Raises: AirSplitError: why this worker cannot work."""
    return measure(_scorer(), task)


def measure(scorer: Scorer, task: Task) -> tuple[Floats, float]:
    """NLL of each window through each channel, [channels, windows], and the seconds it took."""
    started = time.perf_counter()
    nlls = scorer.nlls(task.channels, task.split)
    return nlls, time.perf_counter() - started


def _scorer() -> Scorer:
    [found] = _worker
    if isinstance(found, AirSplitError):
        raise found
    return found


def _end_with_parent() -> None:
    """A worker of a killed parent would wait for tasks for ever."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
