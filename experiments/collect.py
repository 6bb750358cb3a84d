"""Collects records: perplexity over channels and splits, on all cores or GPUs of this host.

The clean prefix is computed once and mapped by every worker; a task is one split over one channel
(on a GPU over several), so that what is measured is written at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import numpy as np
import torch

from airsplit.checkpoint import EMBEDDED, Checkpoint, locate
from airsplit.errors import AirSplitError, InputError, NumericalError
from airsplit.partition import ModelPartition, parse_device
from airsplit.tensor_codec import parse_dtype
from airsplit.text import SAMPLE
from channel_emulator.config import ChannelConfig
from experiments.collect_worker import begin, in_worker, is_ready, measure
from experiments.designs import parse_splits
from experiments.prefixes import CUDA_BATCH_TOKENS, Floats, Prefixes, spread_windows
from experiments.records import Key, Record, Subject, excess_error, key_of
from experiments.scoring import Scorer

WORKER_GONE = "collect: a worker has gone; is there memory for all?"


@dataclass(frozen=True, slots=True)
class CollectConfig:
    """What records are measured on, and with what.

    Raises:
        InputError: a value is out of its range.
    """

    model: str = EMBEDDED
    dataset: str = SAMPLE
    window: int = 256
    """Tokens of a window, the beginning-of-text token included."""

    windows: int = 8
    """Windows of a record, spread evenly over the text."""

    splits: str = "all"
    """`all`, or numbers and ranges."""

    workers: int | None = None
    """Processes. None: one for each core, or for each GPU."""

    device: str = "cpu"
    """`cuda`: workers take turns at all GPUs; `cuda:N`: that one."""

    dtype: str = "fp32"
    """Of the computation and of what crosses."""

    compile: bool = False
    """Through torch.compile: faster after some seconds at the start."""

    def __post_init__(self) -> None:
        if self.windows < 2:
            raise InputError.of("--windows", self.windows, "at least 2, for an interval")
        if self.workers is not None and not 1 <= self.workers <= 1024:
            raise InputError.of("--workers", self.workers, "1-1024")
        parse_device("--device", self.device)
        parse_dtype("--dtype", self.dtype)

    @property
    def devices(self) -> list[str]:
        """Of each worker."""
        every = [self.device]
        if self.device == "cuda":
            every = [f"cuda:{n}" for n in range(torch.cuda.device_count())]
        usable = len(every) if self.device.startswith("cuda") else _cores()
        return [every[n % len(every)] for n in range(self.workers or usable)]

    @property
    def threads(self) -> int:
        """Of each worker's CPU operators."""
        return max(1, _cores() // len(self.devices))

    def load(self, device: str) -> ModelPartition:
        """The whole model on `device`."""
        return ModelPartition(
            Checkpoint(locate(self.model)),
            device=torch.device(device),
            dtype=parse_dtype("--dtype", self.dtype),
            compile=self.compile,
        )


@dataclass(frozen=True, slots=True)
class Task:
    """One split over some channels."""

    channels: tuple[ChannelConfig, ...]
    split: int


class Collector:
    """Model and text, ready to measure; a context manager that ends the workers it started."""

    def __init__(self, config: CollectConfig) -> None:
        """Loads the model and computes the prefixes.

        Raises:
            InputError: no such model, text or device, a text that is too short, or what cannot be
                compiled here.
        """
        self.config = config
        checkpoint = Checkpoint(locate(config.model))
        ids = spread_windows(checkpoint, config.dataset, config.window, config.windows)
        # Nothing else runs until the workers do; but what is compiled is so for its threads.
        torch.set_num_threads(config.threads if config.compile else _cores())
        partition = config.load(config.devices[0])
        if config.window > partition.facts.max_positions:
            limit = f"2-{partition.facts.max_positions}, the context of the model"
            raise InputError.of("--window", config.window, limit)
        splits = parse_splits(config.splits, partition.facts.layers)
        self.prefixes = Prefixes.of(partition, ids, splits)
        self.vocab_size = partition.facts.vocab_size
        self.subject = Subject(
            model=model_name(config.model),
            layers=partition.facts.layers,
            fingerprint=partition.facts.fingerprint,
            dataset=config.dataset,
            window=config.window,
            windows=config.windows,
            clean_nll=float(self.prefixes.clean.mean()),
            dtype=config.dtype,
        )
        self.scorer = Scorer(partition, self.prefixes)
        self._pool: ProcessPoolExecutor | None = None
        self._folder: TemporaryDirectory[str] | None = None
        torch.set_num_threads(config.threads)

    def records(
        self, channels: Sequence[ChannelConfig], known: frozenset[Key] | set[Key] = frozenset()
    ) -> Iterator[Record]:
        """Every channel at every split but what is `known`, each as soon as it is measured.

        Raises:
            NumericalError: a result is not finite.
            AirSplitError: a worker has gone, or cannot compile.
        """
        tasks = self.tasks(channels, known)
        if not self._takes_workers(tasks):
            for task in tasks:
                yield from self._made(task, *measure(self.scorer, task))
            return
        pool = self.start()
        futures: dict[Future[tuple[Floats, float]], Task] = {
            pool.submit(in_worker, task): task for task in tasks
        }
        try:
            for future in as_completed(futures):
                yield from self._made(futures.pop(future), *future.result())
        except BrokenProcessPool as error:
            raise AirSplitError(WORKER_GONE) from error
        finally:
            for future in futures:
                future.cancel()

    def prepare(
        self, channels: Sequence[ChannelConfig], known: frozenset[Key] | set[Key] = frozenset()
    ) -> None:
        """Starts the workers if `records` will need them.

        Raises:
            AirSplitError: a worker has gone, or cannot compile.
        """
        if self._takes_workers(self.tasks(channels, known)):
            self.start()

    def _takes_workers(self, tasks: Sequence[Task]) -> bool:
        return len(self.config.devices) > 1 and len(tasks) > 1

    def tasks(
        self, channels: Sequence[ChannelConfig], known: frozenset[Key] | set[Key] = frozenset()
    ) -> list[Task]:
        """What is left to do; channels come one after another, each once and at every split."""
        tasks = []
        distinct = list(dict.fromkeys(channels))
        for start in range(0, len(distinct), self._group):
            group = distinct[start : start + self._group]
            for split in self.prefixes.splits:
                wanted = tuple(c for c in group if key_of(c, split) not in known)
                if wanted:
                    tasks.append(Task(wanted, split))
        return tasks

    @property
    def _group(self) -> int:
        """Channels of a task: one on a CPU; as many as a GPU's batch has room for."""
        if self.config.device == "cpu":
            return 1
        return max(1, CUDA_BATCH_TOKENS // self.prefixes.ids.size)

    def _made(self, task: Task, nlls: Floats, seconds: float) -> Iterator[Record]:
        for channel, row in zip(task.channels, nlls, strict=True):
            if not np.isfinite(row).all():
                raise NumericalError(f"split {task.split}: the NLL is not finite")
            se, margin = excess_error(row, self.prefixes.clean)
            each = seconds / len(task.channels)
            yield Record(self.subject, channel, task.split, float(row.mean()), se, margin, each)

    def start(self) -> ProcessPoolExecutor:
        """Starts the workers, once; not forked, since threads and CUDA do not survive that.

        Raises:
            AirSplitError: a worker has gone, or cannot compile.
        """
        if self._pool is not None:
            return self._pool
        self._folder = TemporaryDirectory(prefix="airsplit-")
        path = Path(self._folder.name) / "prefixes.npy"
        self.prefixes.share(path)
        context = get_context("spawn")
        devices: Any = context.SimpleQueue()
        for device in self.config.devices:
            devices.put(device)
        prefixes = (self.prefixes.splits, path, self.prefixes.ids, self.prefixes.clean)
        pool = ProcessPoolExecutor(
            len(self.config.devices),
            mp_context=context,
            initializer=begin,
            initargs=(self.config, context.Barrier(len(self.config.devices)), devices, *prefixes),
        )
        self._pool = pool
        try:
            for future in [pool.submit(is_ready) for _ in self.config.devices]:
                future.result()
        except BrokenProcessPool as error:
            raise AirSplitError(WORKER_GONE) from error
        return pool

    def __enter__(self) -> Collector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if self._folder is not None:
            self._folder.cleanup()


def model_name(model: str) -> str:
    """A hub id as it is, a directory by its own name."""
    path = Path(model).expanduser()
    return path.resolve().name if path.is_dir() else model


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
