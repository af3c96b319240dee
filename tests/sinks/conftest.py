"""Fixtures for all tests of sinks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.sinks.results import wait_until


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    """Threads that hang on purpose end when what they wait for has ended."""
    before = set(threading.enumerate())
    yield
    assert wait_until(lambda: set(threading.enumerate()) <= before, 8), threading.enumerate()
