"""The class of this machine for an engine: the class of its CPU, or the SM version of its GPU."""

from __future__ import annotations

from edgevision.device.cpu_class import cpu_class
from edgevision.device.gpu import gpu_facts, sm_text


def machine_class(engine: str, gpu_index: int = 0) -> str:
    """The class for a named engine: "x86-64 AVX2" for CPU engines, "SM 8.7" for engines on an NVIDIA GPU.

    `gpu_index` is the GPU's place in CUDA's list.
    """
    if not ("tensorrt" in engine or engine.endswith("-cuda")):
        return cpu_class()
    gpu = gpu_facts(index=gpu_index)
    return "no GPU" if gpu is None else sm_text(gpu.sm)
