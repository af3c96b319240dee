"""CUDA acted out in host memory, in place of the real bindings."""

from __future__ import annotations

import pytest

from edgevision.engines import cuda
from tests.engines.host_cuda import HostCudart


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> HostCudart:
    """A GPU with memory of its own."""
    stand_in = HostCudart()
    monkeypatch.setattr(cuda, "cudart", stand_in)
    return stand_in


@pytest.fixture
def jetson(monkeypatch: pytest.MonkeyPatch) -> HostCudart:
    """A GPU that shares the host's memory."""
    stand_in = HostCudart(integrated=True)
    monkeypatch.setattr(cuda, "cudart", stand_in)
    return stand_in
