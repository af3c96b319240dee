"""Kernels that TensorRT-RTX compiled are cached: the second start loads them."""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import tensorrt_rtx

from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import BatchRange
from edgevision.engines.tensorrt import jit_cache
from edgevision.engines.tensorrt import session as tensorrt
from edgevision.engines.tensorrt.session import open_engine
from tests.doubles import SIDE
from tests.engines.host_cuda import HostCudart
from tests.engines.host_tensorrt import HostRuntimeCache, HostTensorRt, store_engine


class Started:
    """Opens one engine of TensorRT-RTX as often as it is called; counts how often kernels were compiled for it."""

    def __init__(self, cuda: HostCudart, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = folder / "cache"
        self.stored, self.spec = store_engine(folder / "engine", BatchRange(), flavour="tensorrt-rtx")
        module = HostTensorRt(cuda, self.spec)
        monkeypatch.setenv("EDGEVISION_CACHE", str(self.cache))
        monkeypatch.setattr(HostRuntimeCache, "compiled", 0)
        monkeypatch.setattr(tensorrt, "load_library", lambda flavour, purpose: module.library(flavour))

    def __call__(self) -> int:
        before = HostRuntimeCache.compiled
        with open_engine(self.stored, self.spec, SessionOptions()) as session:
            scores = session.infer(np.full((1, SIDE, SIDE, 3), 51, np.uint8))[1]
        assert scores[0, 0] == pytest.approx(0.2)
        return HostRuntimeCache.compiled - before

    @property
    def files(self) -> list[Path]:
        return [path for path in self.cache.rglob("*") if path.is_file()]


@pytest.fixture
def start(host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    return Started(host, tmp_path, monkeypatch)


def test_the_second_start_compiles_nothing(start: Started) -> None:
    assert [start(), start(), start()] == [1, 0, 0]
    (file,) = start.files
    assert file.parent.name == "tensorrt-rtx"
    assert file.name == f"{start.stored.manifest.plan.sha256[:16]}-nvidia-l4.cache"


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, b"short"])
def test_a_damaged_file_is_made_again(start: Started, damage: bytes) -> None:
    start()
    (file,) = start.files
    whole = file.read_bytes()
    file.write_bytes(damage)
    assert [start(), start()] == [1, 0]
    assert file.read_bytes() == whole


def test_kernels_of_another_version_are_made_again(start: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    start()
    monkeypatch.setattr(HostRuntimeCache, "KERNELS", b"kernels of 1.8")
    assert [start(), start()] == [1, 0]


def test_an_unwritable_cache_folder_is_reported(start: Started, caplog: pytest.LogCaptureFixture) -> None:
    start.cache.write_bytes(b"a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert start() == 1
    assert "export EDGEVISION_CACHE=DIR" in caplog.text


def test_kernels_that_cannot_be_written_are_reported(
    start: Started, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(HostRuntimeCache, "serialize", lambda self: None)
    with caplog.at_level(logging.WARNING):
        assert start() == 1
    assert "cannot serialize compiled kernels" in caplog.text
    assert start.files == []


def test_the_calls_are_those_of_the_real_library() -> None:
    owners = {
        "engine": tensorrt_rtx.ICudaEngine,
        "config": tensorrt_rtx.IRuntimeConfig,
        "self._cache": tensorrt_rtx.IRuntimeCache,
    }
    seen = set()
    for node in ast.walk(ast.parse(Path(jit_cache.__file__).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = owners.get(ast.unparse(node.func.value))
            if owner is None:
                continue
            signatures = re.findall(
                rf"{node.func.attr}\(self: [^)]*\)", getattr(owner, node.func.attr).__doc__
            )
            assert any(text.count(", ") == len(node.args) for text in signatures), (
                node.func.attr,
                signatures,
            )
            seen.add(node.func.attr)
    assert seen == {
        "create_runtime_config",
        "create_runtime_cache",
        "deserialize",
        "set_runtime_cache",
        "set_execution_context_allocation_strategy",
        "create_execution_context",
        "serialize",
    }
