"""Sets memory limits and optional settings of a builder, and removes the latter if a build fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgevision.builder.memory import MemoryFit
from edgevision.engines.tensorrt.library import Library

if TYPE_CHECKING:
    import tensorrt as trt


def set_memory_bounds(library: Library, config: trt.IBuilderConfig, fit: MemoryFit) -> None:
    """Limit the memory pools, which would otherwise take memory of other programs."""
    if fit.workspace_mib is not None:
        config.set_memory_pool_limit(library.member("MemoryPoolType", "WORKSPACE"), fit.workspace_mib << 20)
    # TensorRT-RTX times no kernels during a build.
    if fit.tactic_mib is not None and library.dialect.timing_cache:
        config.set_memory_pool_limit(library.member("MemoryPoolType", "TACTIC_DRAM"), fit.tactic_mib << 20)


def set_wishes(library: Library, config: trt.IBuilderConfig, *, shared_memory: bool) -> tuple[str, ...]:
    """Set optional improvements; returns them as text for the manifest.

    `shared_memory`: with memory shared by CPU and GPU, libraries that only some kernels need cost hundreds of MiB.
    """
    dialect = library.dialect
    for name in dialect.capture_flags:
        config.set_flag(library.member("BuilderFlag", name))
    left_out = dialect.heavy_tactics if shared_memory else ()
    if left_out:
        sources = config.get_tactic_sources()
        for name in left_out:
            sources &= ~(1 << int(library.member("TacticSource", name)))
        config.set_tactic_sources(sources)
    return (*dialect.capture_flags, *[f"without {name}" for name in left_out])


def give_up(library: Library, config: trt.IBuilderConfig, wishes: tuple[str, ...]) -> str:
    """Reset the options of `set_wishes`, with which some networks cannot be built; returns the log text."""
    for name in library.dialect.capture_flags:
        config.clear_flag(library.member("BuilderFlag", name))
    heavy = [name for name in library.dialect.heavy_tactics if f"without {name}" in wishes]
    if heavy:
        sources = config.get_tactic_sources()
        for name in heavy:
            sources |= 1 << int(library.member("TacticSource", name))
        config.set_tactic_sources(sources)
    return f"the build failed with these settings: {', '.join(wishes)}; building again without them"
