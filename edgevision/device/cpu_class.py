"""The class of a CPU, which determines the kernels of an engine's library for graphs of lower precision.

Two CPUs of one class run the same kernels, so a verification on one is valid for the other. The flags are those of
Linux: ``arch/x86/include/asm/cpufeatures.h`` and ``Documentation/arch/arm64/elf_hwcaps.rst``.
"""

from __future__ import annotations

import platform
from collections.abc import Set
from pathlib import Path

ROOT = Path("/")

_X86 = (
    ("x86-64 AMX", ("amx_int8",)),
    ("x86-64 AVX-512 VNNI", ("avx512f", "avx512_vnni")),
    ("x86-64 AVX-VNNI", ("avx2", "avx_vnni")),
    ("x86-64 AVX-512", ("avx512f", "avx512bw")),
    ("x86-64 AVX2", ("avx2",)),
    ("x86-64 AVX", ("avx",)),
    ("x86-64 SSSE3", ("ssse3",)),
)
_ARM = (
    ("aarch64 SVE I8MM", ("sve", "i8mm")),
    ("aarch64 I8MM", ("i8mm",)),
    ("aarch64 dot product", ("asimddp",)),
    ("aarch64 NEON", ("asimd",)),
)
"""Newest first: a CPU belongs to the first class whose flags it has."""


SUMMING_IN_32_BITS = ("x86-64 AMX", "x86-64 AVX-512 VNNI", "x86-64 AVX-VNNI")
"""Classes of x86 whose 8-bit products are added in 32 bits by one instruction."""
SATURATING = ("x86-64 AVX2", "x86-64 AVX-512", "x86-64 AVX", "x86-64 SSSE3")
"""Classes without VNNI: ``pmaddubsw`` adds pairs of 8-bit products, and the sums saturate at 16 bits."""


_ARITHMETIC = (
    ("bf16", ("avx512_bf16", "amx_bf16", "bf16")),
    ("fp16", ("amx_fp16", "asimdhp")),
)
"""Types and the flags of instructions that multiply in them. AVX512-FP16 is left out: OpenVINO 2026.4 converts to
float32 there, and a graph of YOLOv5n took 1.3 times as long."""


def cpu_computes(root: Path = ROOT) -> tuple[str, ...]:
    """Floating-point types below float32 that this CPU has matrix or vector products for: "bf16", "fp16"."""
    flags = _flags(root)
    return tuple(name for name, any_of in _ARITHMETIC if flags & set(any_of))


def saturates(root: Path = ROOT) -> bool:
    """True if this CPU's 8-bit kernels may add pairs of products in 16 bits."""
    return cpu_class(root) in SATURATING


def sums_in_32_bits(root: Path = ROOT) -> bool:
    """True if this x86 CPU has instructions that add 8-bit products in 32 bits."""
    return cpu_class(root) in SUMMING_IN_32_BITS


def cpu_class(root: Path = ROOT) -> str:
    """The class of this machine's CPU, such as "x86-64 AVX2"; `root` is the root of the file tree.

    Only the architecture if ``/proc/cpuinfo`` lists no flags.
    """
    return _first_class(_flags(root)) or platform.machine()


def _flags(root: Path) -> Set[str]:
    """The flags of the first core; empty if ``/proc/cpuinfo`` lists none."""
    try:
        text = (root / "proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return set()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def _first_class(flags: Set[str]) -> str | None:
    return next((name for name, needed in (*_X86, *_ARM) if flags >= set(needed)), None)
