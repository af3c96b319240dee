"""Settings of a builder beside the precision: bounds of its memory, and what a build does without if it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgevision.builder.memory import MemoryFit
from edgevision.engines.tensorrt.library import Library

if TYPE_CHECKING:
    import tensorrt as trt


def set_memory_bounds(library: Library, config: trt.IBuilderConfig, fit: MemoryFit) -> None:
    """Bound the pools that would else take what other programs hold."""
    if fit.workspace_mib is not None:
        config.set_memory_pool_limit(library.member("MemoryPoolType", "WORKSPACE"), fit.workspace_mib << 20)
    # TensorRT-RTX times no kernels when it builds.
    if fit.tactic_mib is not None and library.dialect.timing_cache:
        config.set_memory_pool_limit(library.member("MemoryPoolType", "TACTIC_DRAM"), fit.tactic_mib << 20)


def set_wishes(library: Library, config: trt.IBuilderConfig, *, shared_memory: bool) -> tuple[str, ...]:
    """Ask for what is better, but not worth failing for; returns it in the manifest's words.

    `shared_memory`: CPU and GPU share it, so that libraries which only some kernels need cost hundreds of MiB.
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
    """Take back what `set_wishes` asked for, as some networks cannot be built with it; returns what is said of it."""
    for name in library.dialect.capture_flags:
        config.clear_flag(library.member("BuilderFlag", name))
    heavy = [name for name in library.dialect.heavy_tactics if f"without {name}" in wishes]
    if heavy:
        sources = config.get_tactic_sources()
        for name in heavy:
            sources |= 1 << int(library.member("TacticSource", name))
        config.set_tactic_sources(sources)
    return f"no engine can be built with these settings: {', '.join(wishes)}; building again without them"
