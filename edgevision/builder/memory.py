"""Does a build fit on this machine? Said before an hour is spent on finding out.

A GPU that shares the host's memory reports as free what nobody uses at this moment: page cache and swap are left out
(CUDA's own reference of ``cuMemGetInfo``; ollama pull request 2279, llama.cpp pull request 17368). There the kernel's
``MemAvailable`` is taken, and a part of the swap: it holds what other programs leave unused, never the GPU's own pages.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from edgevision.builder.activations import Activations
from edgevision.device.facts import ROOT, available_memory_mib
from edgevision.device.gpu import GpuFacts
from edgevision.errors import EngineError, UsageError

OVERRIDE = "EDGEVISION_BUILD_MEMORY_MIB"
"""The environment variable that says the same as --memory-mib, for builds that a service starts."""
LIBRARY_MIB = 700
"""What CUDA's context and the library's kernels take of the memory that they are loaded into."""
CROSS_LIBRARY_MIB = 350
"""The same where TensorRT-RTX builds without a GPU, at any level: 254 to 364 MiB were in use in all when untrained
U-Net, YOLOv5n and ResNet-18 (weights of 5, 7 and 44 MiB) were built for SM 8.9 by its version 1.7.1."""
WEIGHT_COPIES = 3
"""Weights as read from the file, as parsed, and as packed for a kernel, all at once."""
LEAST_WORKSPACE_MIB = 64
"""Under this, convolutions of detectors find no kernel at all."""
SHARE = 0.8
"""Of what is left, so much may be scratch; the rest is for timing kernels against each other."""
SWAP_SHARE = 0.5
"""Of the free swap. Moving pages there makes room for the GPU; swap in compressed memory, JetPack's default, itself
takes a part of the memory that it frees."""
TIMED_FROM_LEVEL = 1
"""Level 0 takes the first kernel that works. From 1 on kernels are timed, on tensors of their own beside the others."""
GENERATED_FROM_LEVEL = 4
"""From here on the builder also generates kernels and compiles them, for which the library needs more."""


@dataclass(frozen=True, slots=True)
class BuildNeed:
    """What one build takes, estimated before it begins, from its graph and its level."""

    weights_mib: int
    activations: Activations
    level: int
    asked_mib: int | None = None
    """The user's bound of scratch memory."""

    @property
    def library_mib(self) -> int:
        """The library, and the kernels that it generates at the higher levels."""
        return LIBRARY_MIB * 5 // 4 if self.level >= GENERATED_FROM_LEVEL else LIBRARY_MIB

    @property
    def host_mib(self) -> int:
        """What it takes without a GPU."""
        return self.library_mib + WEIGHT_COPIES * self.weights_mib

    @property
    def activations_mib(self) -> int:
        """The network's tensors, and those of the layer whose kernels are timed."""
        timed = self.activations.largest_layer_mib if self.level >= TIMED_FROM_LEVEL else 0
        return self.activations.peak_mib + timed

    @property
    def least_mib(self) -> int:
        """Everything, with the smallest workspace that is allowed."""
        workspace = LEAST_WORKSPACE_MIB if self.asked_mib is None else self.asked_mib
        return self.host_mib + self.activations_mib + max(workspace, LEAST_WORKSPACE_MIB)

    def __str__(self) -> str:
        copies = WEIGHT_COPIES * self.weights_mib
        return f"{self.library_mib} library, {copies} weights, {self.activations_mib} activations at level {self.level}"


@dataclass(frozen=True, slots=True)
class MemoryFit:
    """Whether a build fits, and the bounds that its memory is given."""

    where: str
    needed_mib: int
    """At the least, with the smallest workspace."""
    free_mib: int
    workspace_mib: int | None
    """None: nothing bounds it here, because the build allocates nothing on a GPU."""
    tactic_mib: int | None = None
    """For everything that is allocated while kernels are timed; TensorRT's own bound is 75 % of all memory on a Jetson
    and all of it elsewhere, whoever else holds some. None: as for `workspace_mib`."""
    parts: str = ""
    """Of what is needed, in words."""
    shared: bool = False
    """CPU and GPU share the memory."""

    @property
    def fits(self) -> bool:
        """True if what is needed is free."""
        return self.needed_mib <= self.free_mib

    def __str__(self) -> str:
        word = "fits" if self.fits else "does not fit"
        bound = f", workspace at most {self.workspace_mib} MiB" if self.workspace_mib and self.fits else ""
        parts = f" ({self.parts})" if self.parts else ""
        return f"{word}: needs about {self.needed_mib} MiB{parts} of {self.where}, {self.free_mib} MiB are free{bound}"


def fit_build(
    gpu: GpuFacts | None, need: BuildNeed, *, memory_mib: int | None = None, root: Path = ROOT
) -> MemoryFit:
    """Hold an estimate against the memory that is free now; `memory_mib` is taken for it if the user says so.

    Without a GPU (cross-building by TensorRT-RTX) only the host's memory counts.
    """
    said_mib = memory_mib if memory_mib is not None else _override_mib()
    if gpu is None:
        free = available_memory_mib(root) if said_mib is None else said_mib
        weights = WEIGHT_COPIES * need.weights_mib
        parts = f"{CROSS_LIBRARY_MIB} library, {weights} weights"
        return MemoryFit("host memory", CROSS_LIBRARY_MIB + weights, free, need.asked_mib, parts=parts)
    if said_mib is not None:
        free, where = said_mib, "memory (as was said)"
    elif gpu.integrated:
        free, where = shared_memory_mib(root), "memory shared by CPU and GPU"
    else:
        free, where = gpu.free_mib, "GPU memory"
    left = free - need.host_mib - need.activations_mib
    workspace = max(LEAST_WORKSPACE_MIB, min(int(left * SHARE), gpu.memory_mib))
    if need.asked_mib is not None:
        workspace = max(LEAST_WORKSPACE_MIB, need.asked_mib)
    # On a GPU that shares memory the pool counts all that is allocated there, weights included.
    tactics = free - need.library_mib - (need.weights_mib if gpu.integrated else 0)
    # Not over what there is: the user may have said more.
    tactic_mib = min(max(tactics, need.activations_mib + workspace), gpu.memory_mib)
    return MemoryFit(where, need.least_mib, free, workspace, tactic_mib, str(need), gpu.integrated)


def require_fit(fit: MemoryFit) -> None:
    """Raise `EngineError` for a build that would be killed or fail for want of memory."""
    if fit.fits:
        return
    missing = fit.needed_mib - fit.free_mib
    swap = (
        f"add swap, which counts half (sudo fallocate -l {max(4, -(-missing * 2 // 1024))}G /swapfile;"
        " sudo chmod 600 /swapfile; sudo mkswap /swapfile; sudo swapon /swapfile), "
        if fit.shared
        else ""
    )
    raise EngineError(
        f"the build {fit}. Stop other programs, take a lower --level or a smaller --workspace-mib, {swap}say how much"
        f" it may use (--memory-mib {fit.needed_mib}, or {OVERRIDE}), or build by TensorRT-RTX on another machine with"
        " --sm"
    )


def shared_memory_mib(root: Path = ROOT) -> int:
    """Memory that a program and its GPU could take where they share it: available, and a part of the free swap.

    Swap makes no more room than other programs hold, and a container's limit counts its memory alone.
    """
    available = available_memory_mib(root)
    try:
        meminfo = (root / "proc/meminfo").read_text(errors="replace")
    except OSError:
        return available
    held = _meminfo_mib(meminfo, "MemTotal") - available
    return available + max(0, min(int(_meminfo_mib(meminfo, "SwapFree") * SWAP_SHARE), held))


def _override_mib() -> int | None:
    """What the environment says; raises `UsageError` if it is no number of MiB."""
    said = os.environ.get(OVERRIDE, "").strip()
    if not said:
        return None
    if not said.isdigit() or int(said) < 1:
        raise UsageError(f"{OVERRIDE} is {said!r}; expected a whole number of MiB, such as 4096")
    return int(said)


def _meminfo_mib(meminfo: str, key: str) -> int:
    match = re.search(rf"^{key}:\s*(\d+) kB", meminfo, re.MULTILINE)
    return int(match[1]) // 1024 if match else 0
