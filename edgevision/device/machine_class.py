"""The class of this machine as an engine sees it: of its CPU, or the SM version of its GPU."""

from __future__ import annotations

from edgevision.device.cpu_class import cpu_class
from edgevision.device.gpu import gpu_facts, sm_text


def machine_class(engine: str) -> str:
    """The class for an engine by name: "x86-64 AVX2" for those of the CPU, "SM 8.7" for those of an NVIDIA GPU."""
    if not ("tensorrt" in engine or engine.endswith("-cuda")):
        return cpu_class()
    gpu = gpu_facts()
    return "no GPU" if gpu is None else sm_text(gpu.sm)
