"""What trtexec's flags would be for a measurement of ours."""

from __future__ import annotations

from edgevision.benchmark.timing import MeasureSettings
from edgevision.contract.session import EngineInfo
from edgevision.engines.fastest import BUILT

CAPTURED_NOTES = ("replayed as one CUDA graph", "CUDA graphs for", "CUDA graphs by")
"""Beginnings of notes of sessions that replay captured graphs."""


def trtexec_flags(settings: MeasureSettings, engine: EngineInfo, *, spin: bool) -> tuple[str, ...]:
    """The flags of trtexec with the same meaning.

    Our times include the copies to and from the device, so `--noDataTransfers` never appears. A flag that is absent is
    off here; trtexec 11 has other defaults than earlier versions.
    """
    flags = [f"--warmUp={settings.warmup_s * 1e3:g}", f"--duration={settings.min_s:g}"]
    flags += [f"--iterations={settings.min_count}"]
    if engine.engine in BUILT:
        captured = any(note.startswith(CAPTURED_NOTES) for note in engine.notes)
        flags += ["--useSpinWait"] if spin else []
        flags += ["--useCudaGraph"] if captured else []
    return tuple(flags)
