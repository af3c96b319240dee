"""Simulates CUDA in host memory, in place of the real bindings."""

from __future__ import annotations

import pytest

from edgevision.engines.tensorrt import cuda
from tests.engines.host_cuda import HostCudart
from tests.hardware import AGX_ORIN, L4


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> HostCudart:
    """A GPU with memory of its own."""
    stand_in = HostCudart(L4)
    monkeypatch.setattr(cuda, "cudart", stand_in)
    return stand_in


@pytest.fixture
def jetson(monkeypatch: pytest.MonkeyPatch) -> HostCudart:
    """A GPU that shares the host's memory."""
    stand_in = HostCudart(AGX_ORIN)
    monkeypatch.setattr(cuda, "cudart", stand_in)
    return stand_in
