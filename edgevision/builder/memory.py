"""Estimates before a build if it fits in memory.

A GPU that shares the host's memory reports only unused memory as free, without page cache and swap (CUDA's own
reference of ``cuMemGetInfo``; ollama pull request 2279, llama.cpp pull request 17368). There the estimate uses the
kernel's ``MemAvailable`` and a part of the swap. Swap takes the idle pages of other programs, never the GPU's own
pages.
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
"""Environment variable equivalent to --memory-mib, for builds that a service starts."""
LIBRARY_MIB = 700
"""Memory of CUDA's context and of the library's kernels."""
CROSS_LIBRARY_MIB = 350
"""Memory of TensorRT-RTX without a GPU, at any level.

In all, 254 to 364 MiB were in use when version 1.7.1 built untrained U-Net, YOLOv5n and ResNet-18 (weights of 5, 7 and
44 MiB) for SM 8.9.
"""
WEIGHT_COPIES = 3
"""Simultaneous copies of the weights: as read from the file, as parsed, and as packed for a kernel."""
LEAST_WORKSPACE_MIB = 64
"""Below this size, no kernel is found for convolutions of detectors."""
SHARE = 0.8
"""Share of the remaining memory for scratch; the rest is for timing kernels."""
SWAP_SHARE = 0.5
"""Share of the free swap that counts.

Moving pages there makes room for the GPU; swap in compressed memory, JetPack's default, takes a part of the memory that
it frees.
"""
TIMED_FROM_LEVEL = 1
"""Level 0 takes the first kernel that works. From level 1 on kernels are timed, on additional tensors."""
GENERATED_FROM_LEVEL = 4
"""From this level on the builder also generates and compiles kernels, for which the library needs more memory."""


@dataclass(frozen=True, slots=True)
class BuildNeed:
    """Estimated memory of one build, from its graph and level."""

    weights_mib: int
    activations: Activations
    level: int
    asked_mib: int | None = None
    """The user's limit of scratch memory."""

    @property
    def library_mib(self) -> int:
        """Memory of the library, and of the kernels that it generates at the higher levels."""
        return LIBRARY_MIB * 5 // 4 if self.level >= GENERATED_FROM_LEVEL else LIBRARY_MIB

    @property
    def host_mib(self) -> int:
        """Host memory of a build without a GPU."""
        return self.library_mib + WEIGHT_COPIES * self.weights_mib

    @property
    def activations_mib(self) -> int:
        """Memory of the network's tensors, and of those of the layer whose kernels are timed."""
        timed = self.activations.largest_layer_mib if self.level >= TIMED_FROM_LEVEL else 0
        return self.activations.peak_mib + timed

    @property
    def least_mib(self) -> int:
        """Total with the smallest allowed workspace."""
        workspace = LEAST_WORKSPACE_MIB if self.asked_mib is None else self.asked_mib
        return self.host_mib + self.activations_mib + max(workspace, LEAST_WORKSPACE_MIB)

    def __str__(self) -> str:
        copies = WEIGHT_COPIES * self.weights_mib
        return f"{self.library_mib} library, {copies} weights, {self.activations_mib} activations at level {self.level}"


@dataclass(frozen=True, slots=True)
class MemoryFit:
    """Result of the estimate, with the limits for the build."""

    where: str
    needed_mib: int
    """Total with the smallest workspace."""
    free_mib: int
    workspace_mib: int | None
    """None: no limit, because the build allocates nothing on a GPU."""
    tactic_mib: int | None = None
    """Limit of all allocations during the timing of kernels; None: as for `workspace_mib`.

    TensorRT's own limit is 75 % of all memory on a Jetson and all memory elsewhere, regardless of other programs.
    """
    parts: str = ""
    """Breakdown of the needed memory, as text."""
    shared: bool = False
    """True if CPU and GPU share the memory."""

    @property
    def fits(self) -> bool:
        """True if the needed memory is free."""
        return self.needed_mib <= self.free_mib

    def __str__(self) -> str:
        word = "fits" if self.fits else "does not fit"
        bound = f", workspace at most {self.workspace_mib} MiB" if self.workspace_mib and self.fits else ""
        parts = f" ({self.parts})" if self.parts else ""
        return f"{word}: needs about {self.needed_mib} MiB{parts} of {self.where}, {self.free_mib} MiB are free{bound}"


def fit_build(
    gpu: GpuFacts | None, need: BuildNeed, *, memory_mib: int | None = None, root: Path = ROOT
) -> MemoryFit:
    """Compare an estimate with the memory that is free now, or with `memory_mib` if given.

    Without a GPU (cross-building with TensorRT-RTX) only the host's memory counts.
    """
    limit_mib = memory_mib if memory_mib is not None else _override_mib()
    if gpu is None:
        free = available_memory_mib(root) if limit_mib is None else limit_mib
        weights = WEIGHT_COPIES * need.weights_mib
        parts = f"{CROSS_LIBRARY_MIB} library, {weights} weights"
        return MemoryFit("host memory", CROSS_LIBRARY_MIB + weights, free, need.asked_mib, parts=parts)
    if limit_mib is not None:
        free, where = limit_mib, "memory (as specified)"
    elif gpu.integrated:
        free, where = shared_memory_mib(root), "memory shared by CPU and GPU"
    else:
        free, where = gpu.free_mib, "GPU memory"
    left = free - need.host_mib - need.activations_mib
    workspace = max(LEAST_WORKSPACE_MIB, min(int(left * SHARE), gpu.memory_mib))
    if need.asked_mib is not None:
        workspace = max(LEAST_WORKSPACE_MIB, need.asked_mib)
    # On a GPU that shares memory, the pool counts all its allocations, weights included.
    tactics = free - need.library_mib - (need.weights_mib if gpu.integrated else 0)
    # At most the installed memory: the user may have specified more.
    tactic_mib = min(max(tactics, need.activations_mib + workspace), gpu.memory_mib)
    return MemoryFit(where, need.least_mib, free, workspace, tactic_mib, str(need), gpu.integrated)


def require_fit(fit: MemoryFit) -> None:
    """Raise `EngineError` for a build that would run out of memory."""
    if fit.fits:
        return
    missing = fit.needed_mib - fit.free_mib
    swap = (
        f"add swap, half of which counts (sudo fallocate -l {max(4, -(-missing * 2 // 1024))}G /swapfile;"
        " sudo chmod 600 /swapfile; sudo mkswap /swapfile; sudo swapon /swapfile), "
        if fit.shared
        else ""
    )
    raise EngineError(
        f"the build {fit}. Stop other programs, use a lower --level or a smaller --workspace-mib, {swap}set the"
        f" memory that it may use (--memory-mib {fit.needed_mib}, or {OVERRIDE}), or build with TensorRT-RTX on"
        " another machine with"
        " --sm"
    )


def shared_memory_mib(root: Path = ROOT) -> int:
    """Memory available to a program and its GPU where they share it: free memory and a part of the free swap.

    Swap frees no more room than other programs hold, and a container's limit covers only its memory.
    """
    available = available_memory_mib(root)
    try:
        meminfo = (root / "proc/meminfo").read_text(errors="replace")
    except OSError:
        return available
    held = _meminfo_mib(meminfo, "MemTotal") - available
    return available + max(0, min(int(_meminfo_mib(meminfo, "SwapFree") * SWAP_SHARE), held))


def _override_mib() -> int | None:
    """The value of the environment variable; raises `UsageError` if it is not a number of MiB."""
    value = os.environ.get(OVERRIDE, "").strip()
    if not value:
        return None
    if not value.isdigit() or int(value) < 1:
        raise UsageError(f"{OVERRIDE} is {value!r}; expected a whole number of MiB, such as 4096")
    return int(value)


def _meminfo_mib(meminfo: str, key: str) -> int:
    match = re.search(rf"^{key}:\s*(\d+) kB", meminfo, re.MULTILINE)
    return int(match[1]) // 1024 if match else 0
