"""Batches of a training set in an order that depends only on the seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic

import numpy as np

from edgevision.errors import UsageError
from edgevision.train.data.workers import (
    Batch,
    BatchSource,
    BatchTask,
    Draw,
    ThreadSource,
    WorkerSource,
    check_shared_memory,
)

Order = np.ndarray[tuple[int], np.dtype[np.int64]]


class BatchStream(Generic[Batch]):
    """One epoch of batches at each iteration; the sample at place i of epoch e has the generator (seed, e, i).

    `draw` receives the indices of a batch, the generators of its samples and `share_at` of its step. A thread draws, or
    `workers` processes; the batches are the same. Of `world` processes, the one of `rank` draws its share of each
    batch. A stream that `seek` placed within an epoch continues with the rest of it. The last, incomplete batch of an
    epoch is skipped: its images come elsewhere in the next one. `order` returns an epoch's indices; default: a
    permutation.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        draw: Draw[Batch],
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        order: Callable[[np.random.Generator], Order] | None = None,
        share_at: Callable[[int], float] = float,
        workers: int = 0,
    ) -> None:
        if batch_size % world:
            raise UsageError(
                f"batch {batch_size} cannot be shared by {world} devices; choose a multiple of it"
            )
        self.batch_size = min(batch_size, count // world * world)
        self.rank, self.world = rank, world
        self.count, self.seed = count, seed
        self.epoch, self.position = 0, 0
        self._order = order or (lambda rng: rng.permutation(count))
        self._share_at = share_at
        self._source: BatchSource[Batch] = WorkerSource(draw, workers) if workers else ThreadSource(draw)
        if workers:
            check_shared_memory(self._task(self._order_of(0), 0).drawn(draw), workers)

    def __len__(self) -> int:
        return self.count // self.batch_size

    def seek(self, step: int) -> None:
        """Continue with batch `step`, counted from the first epoch's first."""
        self.epoch, self.position = divmod(step, len(self))

    def __iter__(self) -> Iterator[Batch]:
        if self.position >= len(self):
            self.epoch, self.position = self.epoch + 1, 0
        order, first = self._order_of(self.epoch), self.position
        for batch in self._source.batches(self._task(order, place) for place in range(first, len(self))):
            self.position += 1
            yield batch

    def close(self) -> None:
        """End the workers."""
        self._source.close()

    def _order_of(self, epoch: int) -> Order:
        return self._order(np.random.default_rng([self.seed, epoch]))

    def _task(self, order: Order, position: int) -> BatchTask:
        first = position * self.batch_size
        places = tuple(range(first + self.rank, first + self.batch_size, self.world))
        indices = tuple(int(order[place]) for place in places)
        return BatchTask(
            self.seed, self.epoch, places, indices, self._share_at(self.epoch * len(self) + position)
        )
