"""Describes this machine for one TensorRT library: facts of the driver, the board and the library."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.device.facts import ROOT, board, power_mode
from edgevision.device.gpu import GpuFacts, gpu_facts
from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.log import Messages, logger
from edgevision.engines.tensorrt.manifest import Platform, Running

if TYPE_CHECKING:
    import tensorrt as trt


def running_here(library: Library, gpu_index: int = 0) -> Running:
    """This library on this machine with one of its GPUs."""
    return running_on(library, gpu_facts(index=gpu_index))


def running_on(library: Library, gpu: GpuFacts | None) -> Running:
    """This library on this machine with a GPU that was queried before."""
    return Running(library.flavour, library.version, this_platform(gpu, dla_cores(library, gpu)))


def this_platform(gpu: GpuFacts | None, dla_cores: int, root: Path = ROOT) -> Platform:
    """This machine's properties that engines depend on; `dla_cores` is the count that the library reports."""
    return Platform(
        system=sys.platform,
        architecture=platform.machine(),
        device=gpu.name if gpu else None,
        sm=gpu.sm if gpu else None,
        driver=gpu.driver if gpu else None,
        cuda=gpu.cuda if gpu else None,
        dla_cores=dla_cores,
        power_mode=power_mode(root),
        board=board(root),
        multiprocessors=gpu.multiprocessors if gpu else None,
        memory_mib=gpu.memory_mib if gpu else None,
    )


def dla_cores(library: Library, gpu: GpuFacts | None) -> int:
    """Number of DLA cores that the library finds; 0 without a query for versions that support none."""
    if gpu is None or not library.dialect.dla_modules:
        return 0
    runtime: trt.Runtime = library.module.Runtime(logger(library, Messages()))
    return runtime.num_DLA_cores
