"""Threads for the work on single frames: decoding, preparing, drawing and encoding."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from typing import Any, Literal, TypeVar

from edgevision.device.facts import usable_cores
from edgevision.sources.frames import Source, SourceFrame

T = TypeVar("T")


def worker_count(wanted: int | Literal["auto"]) -> int:
    """Number of threads; "auto": the cores that this process may use."""
    return max(1, int(usable_cores())) if wanted == "auto" else wanted


class Workers:
    """Daemon threads that take tasks in the order of submission; a thread starts when it is first needed."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._tasks: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._over = False
        self._threads: list[threading.Thread] = []

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` in a thread. After `close` it is cancelled at once."""
        future: Future[T] = Future()
        with self._changed:
            if self._over:
                _cancel(future)
                return future
            self._tasks.append((future, work))
            if self._idle < len(self._tasks) and len(self._threads) < self.count:
                thread = threading.Thread(target=self._work, name="worker", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()
        return future

    @property
    def waiting(self) -> int:
        """Number of tasks that have not begun."""
        return len(self._tasks)

    def close(self, timeout_s: float) -> bool:
        """Cancel tasks that have not begun, and wait for the others; False if one still runs after the time-out."""
        with self._changed:
            self._over = True
            while self._tasks:
                _cancel(self._tasks.popleft()[0])
            self._changed.notify_all()
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(until_s - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._tasks or self._over)
                self._idle -= 1
                if self._over:
                    return
                future, work = self._tasks.popleft()
            _run(future, work)


def _cancel(future: Future[Any]) -> None:
    """Cancel a future of a task that has not begun, also for those that wait in `futures.wait`."""
    if future.cancel():
        future.set_running_or_notify_cancel()


def _run(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # raised again by `Future.result`
        future.set_exception(error)
    else:
        future.set_result(result)


class Strand:
    """Tasks that run one after another, in whichever thread is free; after one that fails, the rest is cancelled."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._lock = threading.Lock()
        self._running = False
        self._failed = False

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` after all tasks submitted before."""
        future: Future[T] = Future()
        with self._lock:
            if self._failed:
                _cancel(future)
                return future
            self._waiting.append((future, work))
            if self._running:
                return future
            self._running = True
        self._workers.submit(self._next)
        return future

    def _next(self) -> None:
        with self._lock:
            future, work = self._waiting.popleft()
        _run(future, work)
        with self._lock:
            if not future.cancelled() and future.exception() is not None:
                self._failed = True
                while self._waiting:
                    _cancel(self._waiting.popleft()[0])
            self._running = bool(self._waiting)
            more = self._running
        if more:
            self._workers.submit(self._next)


class ReadAhead:
    """Reads a file in worker threads, one frame after another, up to `depth` frames before they are taken."""

    def __init__(self, source: Source, workers: Workers, may_read: Callable[[], bool], depth: int) -> None:
        """`may_read` is called before each read in advance; if it returns False, `take` reads the frame itself."""
        self._source = source
        self._workers = workers
        self._may_read = may_read
        self._depth = depth
        self._frames: deque[SourceFrame | None] = deque()
        """None: the end."""
        self._failure: BaseException | None = None
        self._current: Future[None] | None = None
        """The read in progress."""
        self._over = False
        self._changed = threading.Condition()

    def take(self) -> SourceFrame | None:
        """The next frame, or None at the end; waits for it. Raises what the source raises."""
        with self._changed:
            self._read_on()
            idle = self._current is None and not self._frames and self._failure is None and not self._over
            own: Future[None] | None = Future() if idle else None
            self._current = own or self._current
        if own is not None:
            _run(own, self._read)
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._failure or self._over)
            if self._over:
                return None
            if not self._frames and self._failure is not None:
                raise self._failure
            frame = self._frames.popleft()
            self._read_on()
            return frame

    def stop(self, *, wait: bool = True) -> None:
        """Read no more. With `wait` it returns once the source is not in use."""
        with self._changed:
            self._over = True
            current = self._current
            self._changed.notify_all()
        if wait and current is not None:
            futures.wait([current])

    def _read_on(self) -> None:
        """Start the next read if there is room."""
        ended = self._failure is not None or (self._frames and self._frames[-1] is None)
        if self._current is not None or ended or self._over or len(self._frames) >= self._depth:
            return
        if self._may_read():
            self._current = self._workers.submit(self._read)

    def _read(self) -> None:
        frame, failure = None, None
        try:
            frame = self._source.read()
        except BaseException as error:  # raised again by `take`
            failure = error
        with self._changed:
            self._current = None
            self._failure = failure
            if failure is None:
                self._frames.append(frame)
            self._read_on()
            self._changed.notify_all()
