"""The class of this machine for an engine: the class of its CPU, or the SM version of its GPU."""

from __future__ import annotations

from edgevision.device.cpu_class import cpu_class
from edgevision.device.gpu import gpu_facts, sm_text


def machine_class(engine: str) -> str:
    """The class for a named engine: "x86-64 AVX2" for CPU engines, "SM 8.7" for engines on an NVIDIA GPU."""
    if not ("tensorrt" in engine or engine.endswith("-cuda")):
        return cpu_class()
    gpu = gpu_facts()
    return "no GPU" if gpu is None else sm_text(gpu.sm)
