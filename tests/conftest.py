"""Shared fixtures: real data where it is, a failure instead of a skip where it must be."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: torch and OpenMP would each start a thread for every core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgevision.device.cpu_class import cpu_class
from edgevision.device.facts import cpu_model, usable_cores

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_report_header() -> str:
    """Which kernels 8-bit graphs meet depends on the CPU's class."""
    return f"CPU: {cpu_model()}, class {cpu_class()}, {usable_cores():g} cores"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real test data; skips without it, fails without it under EDGEVISION_REQUIRE_DATA=1."""
    path = Path(os.environ.get("EDGEVISION_DATA", REPOSITORY.parent / "shared" / "data"))
    if not path.is_dir():
        message = f"test data not found at {path}; set EDGEVISION_DATA"
        if os.environ.get("EDGEVISION_REQUIRE_DATA") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return path.resolve()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the choice of an engine, or another record, that an earlier one stored for an equal bundle."""
    folder = tmp_path_factory.getbasetemp() / "caches" / uuid.uuid4().hex
    monkeypatch.setenv("EDGEVISION_CACHE", str(folder))


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard() -> Iterator[None]:
    """A shell starts its background jobs with SIGINT ignored; tests that send it, and their children, must hear it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
