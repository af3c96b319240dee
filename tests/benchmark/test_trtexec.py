"""Flags of trtexec with the same meaning as a measurement."""

from __future__ import annotations

import pytest

from edgevision.benchmark.timing import MeasureSettings
from edgevision.benchmark.trtexec import trtexec_flags
from edgevision.contract.session import EngineInfo

SETTINGS = MeasureSettings(min_s=9.0, min_count=90, warmup_s=1.0, warmup_count=5)
TIMES = ("--warmUp=1000", "--duration=9", "--iterations=90")


@pytest.mark.parametrize(
    ("engine", "notes", "spin", "flags"),
    [
        ("onnxruntime", (), True, ()),
        ("tensorrt", ("replayed as one CUDA graph",), True, ("--useSpinWait", "--useCudaGraph")),
        ("tensorrt", ("no CUDA graph: dynamic",), True, ("--useSpinWait",)),
        ("tensorrt-rtx", ("CUDA graphs for batches of 1 and 4",), False, ("--useCudaGraph",)),
    ],
)
def test_flags(engine: str, notes: tuple[str, ...], spin: bool, flags: tuple[str, ...]) -> None:
    info = EngineInfo(engine, f"{engine} 1", "here", notes=notes)
    assert trtexec_flags(SETTINGS, info, spin=spin) == (*TIMES, *flags)
