"""A bounded queue between two threads."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosed(Exception):  # noqa: N818  # not an error: the ordinary end of a stream
    """The channel has ended or was aborted."""


class Channel(Generic[T]):
    """A bounded queue with an end.

    `put` waits while the queue is full, which applies back-pressure to the producer. With `newest` it never waits: the
    oldest item is displaced and returned.
    """

    def __init__(self, capacity: int, *, newest: bool = False) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._newest = newest
        self._ended = False
        self._aborted = False
        self._changed = threading.Condition()

    def put(self, item: T) -> T | None:
        """Add an item; returns the displaced one. Raises `ChannelClosed` after `abort`."""
        with self._changed:
            displaced = None
            if self._newest and len(self._items) >= self._capacity:
                displaced = self._items.popleft()
            self._changed.wait_for(lambda: self._aborted or len(self._items) < self._capacity)
            if self._aborted:
                raise ChannelClosed
            self._items.append(item)
            self._changed.notify_all()
            return displaced

    def get(self, timeout_s: float | None = None) -> T | None:
        """Take the oldest item, or None after the time-out.

        Raises `ChannelClosed` after `abort`, and after `end` once the queue is empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended or self._aborted, timeout_s)
            if self._aborted or (self._ended and not self._items):
                raise ChannelClosed
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def take(self) -> T:
        """`get` without a time-out."""
        item = self.get()
        assert item is not None, "without a timeout there is an item or an exception"
        return item

    def end(self) -> None:
        """End the queue; items in it can still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Wake both sides and drop all items."""
        with self._changed:
            self._aborted = True
            self._items.clear()
            self._changed.notify_all()
