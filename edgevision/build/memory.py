"""Does a build fit on this machine? Said before an hour is spent on finding out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgevision.build.gpu import GpuFacts
from edgevision.device import ROOT, available_memory_mib
from edgevision.errors import EngineError

LIBRARY_MIB = 700
"""What CUDA's context and the library's kernels take of the memory that they are loaded into."""
WEIGHT_COPIES = 3
"""Weights as read from the file, as parsed, and as packed for a kernel, all at once."""
LEAST_WORKSPACE_MIB = 64
"""Under this, convolutions of detectors find no kernel at all."""
SHARE = 0.8
"""Of what is left, so much may be scratch; the rest is for timing kernels against each other."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a build fits, and the bound that its scratch memory is given."""

    where: str
    needed_mib: int
    """At the least, with the smallest workspace."""
    free_mib: int
    workspace_mib: int | None
    """None: nothing bounds it here, because the build allocates nothing on a GPU."""

    @property
    def fits(self) -> bool:
        """True if what is needed is free."""
        return self.needed_mib <= self.free_mib

    def __str__(self) -> str:
        word = "fits" if self.fits else "does not fit"
        bound = f", workspace at most {self.workspace_mib} MiB" if self.workspace_mib and self.fits else ""
        return (
            f"{word}: needs about {self.needed_mib} MiB of {self.where}, {self.free_mib} MiB are free{bound}"
        )


def fit_build(
    gpu: GpuFacts | None, *, weights_mib: int, activations_mib: int, asked_mib: int | None, root: Path = ROOT
) -> Fit:
    """Hold an estimate against the memory that is free now; `asked_mib` is the user's bound for scratch memory.

    Without a GPU (cross-building by TensorRT-RTX) only the host's memory counts.
    """
    host_mib = available_memory_mib(root)
    base = LIBRARY_MIB + WEIGHT_COPIES * weights_mib
    if gpu is None:
        return Fit("host memory", base, host_mib, asked_mib)
    free = min(gpu.free_mib, host_mib) if gpu.integrated else gpu.free_mib
    left = int((free - base - activations_mib) * SHARE)
    workspace = max(LEAST_WORKSPACE_MIB, left if asked_mib is None else asked_mib)
    needed = base + activations_mib + (LEAST_WORKSPACE_MIB if asked_mib is None else workspace)
    where = "memory shared by CPU and GPU" if gpu.integrated else "GPU memory"
    return Fit(where, needed, free, workspace)


def require_fit(fit: Fit) -> None:
    """Raise `EngineError` for a build that would be killed or fail for want of memory."""
    if not fit.fits:
        raise EngineError(
            f"the build {fit}. Stop other programs, give a smaller --workspace-mib, add swap"
            " (sudo fallocate -l 8G /swapfile; sudo chmod 600 /swapfile; sudo mkswap /swapfile; sudo swapon /swapfile),"
            " or build by TensorRT-RTX on another machine with --sm"
        )
