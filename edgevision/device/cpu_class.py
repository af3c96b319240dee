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


SATURATING = ("x86-64 AVX2", "x86-64 AVX-512", "x86-64 AVX", "x86-64 SSSE3")
"""Classes without VNNI: ``pmaddubsw`` adds pairs of 8-bit products, and the sums saturate at 16 bits."""


def saturates(root: Path = ROOT) -> bool:
    """True if this CPU's 8-bit kernels may add pairs of products in 16 bits."""
    return cpu_class(root) in SATURATING


def cpu_class(root: Path = ROOT) -> str:
    """The class of this machine's CPU, such as "x86-64 AVX2"; `root` is the root of the file tree.

    Only the architecture if ``/proc/cpuinfo`` lists no flags.
    """
    try:
        text = (root / "proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return platform.machine()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return _first_class(set(value.split())) or platform.machine()
    return platform.machine()


def _first_class(flags: Set[str]) -> str | None:
    return next((name for name, needed in (*_X86, *_ARM) if flags >= set(needed)), None)
