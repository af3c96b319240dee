"""Simulates CUDA in host memory, in place of the real library."""

from __future__ import annotations

import pytest

from tests.engines.host_cuda import HostCudart
from tests.hardware import AGX_ORIN, L4


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> HostCudart:
    """A GPU with memory of its own."""
    return HostCudart(L4).install(monkeypatch)


@pytest.fixture
def jetson(monkeypatch: pytest.MonkeyPatch) -> HostCudart:
    """A GPU that shares the host's memory."""
    return HostCudart(AGX_ORIN).install(monkeypatch)
