"""This machine as one library finds it: the driver's facts, the board's, and those that the library alone knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgevision.build.gpu import GpuFacts, gpu_facts, this_platform
from edgevision.build.library import Library
from edgevision.build.manifest import Running
from edgevision.build.progress import Messages, logger

if TYPE_CHECKING:
    import tensorrt as trt


def running_here(library: Library) -> Running:
    """This library on this machine, with its GPU."""
    return running_on(library, gpu_facts())


def running_on(library: Library, gpu: GpuFacts | None) -> Running:
    """This library on this machine, whose GPU was asked before."""
    return Running(library.flavour, library.version, this_platform(gpu, dla_cores(library, gpu)))


def dla_cores(library: Library, gpu: GpuFacts | None) -> int:
    """How many cores of a DLA the library finds; 0 without asking where its version supports none."""
    if gpu is None or not library.dialect.dla_modules:
        return 0
    runtime: trt.Runtime = library.module.Runtime(logger(library, Messages()))
    return runtime.num_DLA_cores
