"""Prepares batches in advance of the training, in a thread of this process or in worker processes."""

from __future__ import annotations

import abc
import contextlib
import os
import pickle
import re
import shutil
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from edgevision.errors import EdgevisionError, UsageError

Batch = TypeVar("Batch")
Draw = Callable[[list[int], list[np.random.Generator], float], Batch]
"""From the indices of a batch, the generators of its samples, and the share of the training at its step, in 0..1."""

AHEAD = 3
"""Batches that the thread draws in advance."""
_DEAD = "DataLoader worker"
"""Start of PyTorch's messages about dead workers."""
WORKERS_AHEAD = 2
"""Batches that each worker draws in advance."""
SHARED_MEMORY = "/dev/shm"  # the kernel's name of shared memory


@dataclass(frozen=True, slots=True)
class BatchTask:
    """Everything that a batch depends on."""

    seed: int
    epoch: int
    places: tuple[int, ...]
    """Places of the samples in the epoch; a sample's generator has the seed (seed, epoch, place)."""
    indices: tuple[int, ...]
    share: float

    def drawn(self, draw: Draw[Batch]) -> Batch:
        """Draw the batch; any process draws the same one."""
        generators = [np.random.default_rng([self.seed, self.epoch, place]) for place in self.places]
        return draw(list(self.indices), generators, self.share)


class BatchSource(abc.ABC, Generic[Batch]):
    """Draws the batches of tasks in their order."""

    @abc.abstractmethod
    def batches(self, tasks: Iterable[BatchTask]) -> Iterator[Batch]:
        """The batches. A task is taken only shortly before it is drawn, so that its share of the training is recent."""

    def close(self) -> None:  # a thread ends with its iterator
        """End all processes."""


class ThreadSource(BatchSource[Batch]):
    """Draws in one thread."""

    def __init__(self, draw: Draw[Batch]) -> None:
        self._draw = draw

    def batches(self, tasks: Iterable[BatchTask]) -> Iterator[Batch]:
        """The batches."""
        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(1) as pool:
            try:
                for task in tasks:
                    waiting.append(pool.submit(task.drawn, self._draw))
                    if len(waiting) > AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


class WorkerSource(BatchSource[Batch]):
    """Draws in processes, which are forked at the first batch: they share the decoded images with this one."""

    def __init__(self, draw: Draw[Batch], workers: int) -> None:
        self._draw, self._workers = draw, workers
        self._tasks = _Tasks()
        self._loader: DataLoader[Batch] | None = None

    def batches(self, tasks: Iterable[BatchTask]) -> Iterator[Batch]:
        """The batches."""
        self._tasks.tasks = tasks
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork while threads run; the workers use none of their locks.
            warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
            warnings.filterwarnings(
                "ignore", message="This DataLoader will create"
            )  # more workers than cores
            if self._loader is None:
                self._loader = self._new_loader()
                with _opencv_without_threads():
                    iterator = iter(self._loader)  # forks the workers
            else:
                iterator = iter(self._loader)
        try:
            yield from iterator
        except (ConnectionError, EOFError) as error:
            # It ended while this process received its batch, before PyTorch saw it.
            raise RuntimeError(f"{_DEAD} (pid unknown) is lost") from error

    def _new_loader(self) -> DataLoader[Batch]:
        return DataLoader(
            _Drawn(self._draw),
            batch_size=None,
            sampler=self._tasks,
            num_workers=self._workers,
            prefetch_factor=WORKERS_AHEAD,
            persistent_workers=True,
            collate_fn=_unchanged,
            worker_init_fn=_prepare_worker,
            multiprocessing_context="fork",
            generator=torch.Generator(),  # not the global one, which would change the training's draws
        )

    def close(self) -> None:
        """End the workers."""
        self._loader = None


class _Tasks:
    """The tasks of the current epoch, as DataLoader's sampler."""

    def __init__(self) -> None:
        self.tasks: Iterable[BatchTask] = ()

    def __iter__(self) -> Iterator[BatchTask]:
        return iter(self.tasks)


class _Drawn(Dataset[Batch]):
    """A batch for each task, as DataLoader's data set."""

    def __init__(self, draw: Draw[Batch]) -> None:
        self._draw = draw

    def __getitem__(self, task: BatchTask) -> Batch:
        return task.drawn(self._draw)


def _unchanged(batch: Batch) -> Batch:
    return batch


def _prepare_worker(number: int) -> None:  # noqa: ARG001  # DataLoader's signature
    """Leave Ctrl-C to the training's process, which ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _opencv_without_threads() -> Iterator[None]:
    """End OpenCV's threads meanwhile, so that a forked process uses one core.

    A fork copies the list of threads but not the threads: the next call that needs or ends them would wait for ever.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


@contextlib.contextmanager
def translated_failures() -> Iterator[None]:
    """Translate the death of a worker, which PyTorch raises anywhere in this process."""
    try:
        yield
    except RuntimeError as error:
        found = re.search(rf"{_DEAD} \(pid(?:\(s\))? ([\d, ]+|unknown)\)(.*)", str(error))
        if found is None:
            raise
        _stop_raising()
        reason = found[2].strip().removeprefix("is ").rstrip(". ")
        raise EdgevisionError(
            f"worker process {found[1]} ended ({reason}), usually because memory was exhausted; continue with"
            " --resume and fewer --workers"
        ) from error


def _stop_raising() -> None:
    """Remove PyTorch's handler, which raises again for a dead worker whenever another process ends."""
    if threading.current_thread() is not threading.main_thread():
        return
    while signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL:
        with contextlib.suppress(RuntimeError):  # the handler may run before it is removed
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def worker_count(setting: int | None, *, gpu: bool, devices: int, cores: float) -> int:
    """Number of workers of each device; 0 is the thread. `setting` None chooses.

    On a CPU the network needs the cores itself. A GPU waits for samples: it gets all cores but one, at most 8.
    """
    if setting is not None:
        return setting
    return max(1, min(8, int(cores) // devices - 1)) if gpu and cores >= 2 else 0


def check_shared_memory(batch: object, workers: int, folder: str = SHARED_MEMORY) -> None:
    """Raise `UsageError` unless the batches in advance fit into shared memory; a container often has only 64 MiB."""
    if not os.path.isdir(folder):  # noqa: PTH112  # a system without it is not Linux
        return
    tensors: list[torch.Tensor] = []

    class Counting(pickle.Pickler):
        def persistent_id(self, item: object) -> None:
            if isinstance(item, torch.Tensor):
                tensors.append(item)

    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # not a path of ours
        Counting(nowhere).dump(batch)
    needed = sum(tensor.nbytes for tensor in tensors) * (workers * WORKERS_AHEAD + 1)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            f"{workers} workers need {needed >> 20} MiB of shared memory; {folder} has {free >> 20} MiB free. In a"
            " container: docker run --shm-size 2g; or fewer --workers"
        )
