"""Batches of a training set in an order that depends only on the seed, prefetched by a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np

from edgevision.errors import UsageError

Batch = TypeVar("Batch")


class BatchStream(Generic[Batch]):
    """One epoch of batches at each iteration; the sample at place i of epoch e has the generator (seed, e, i).

    `draw` receives the indices of a batch, the generators of its samples and the step number. Of `world` processes, the
    one of `rank` draws its share of each batch. A stream that `seek` placed within an epoch continues with the rest of
    it. The last, incomplete batch of an epoch is skipped: its images come elsewhere in the next one. `order` returns an
    epoch's indices; default: a permutation.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        draw: Callable[[list[int], list[np.random.Generator], int], Batch],
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        order: Callable[[np.random.Generator], np.ndarray[tuple[int], np.dtype[np.int64]]] | None = None,
        ahead: int = 3,
    ) -> None:
        if batch_size % world:
            raise UsageError(
                f"batch {batch_size} cannot be shared by {world} devices; choose a multiple of it"
            )
        self.batch_size = min(batch_size, count // world * world)
        self.rank, self.world = rank, world
        self.count, self.seed, self.ahead = count, seed, ahead
        self.epoch, self.position = 0, 0
        self._draw = draw
        self._order = order or (lambda rng: rng.permutation(count))

    def __len__(self) -> int:
        return self.count // self.batch_size

    def seek(self, step: int) -> None:
        """Continue with batch `step`, counted from the first epoch's first."""
        self.epoch, self.position = divmod(step, len(self))

    def __iter__(self) -> Iterator[Batch]:
        if self.position >= len(self):
            self.epoch, self.position = self.epoch + 1, 0
        order = self._order(np.random.default_rng([self.seed, self.epoch]))
        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(1) as pool:
            try:
                following = self.position
                while self.position < len(self):
                    while following < len(self) and len(waiting) <= self.ahead:
                        waiting.append(pool.submit(self._batch, order, self.epoch, following))
                        following += 1
                    batch = waiting.popleft().result()
                    self.position += 1
                    yield batch
            finally:
                for future in waiting:
                    future.cancel()

    def _batch(self, order: np.ndarray[tuple[int], np.dtype[np.int64]], epoch: int, position: int) -> Batch:
        first = position * self.batch_size
        places = range(first + self.rank, first + self.batch_size, self.world)
        generators = [np.random.default_rng([self.seed, epoch, place]) for place in places]
        return self._draw([int(order[place]) for place in places], generators, epoch * len(self) + position)
