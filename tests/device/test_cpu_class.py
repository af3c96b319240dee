"""The class of a CPU from recorded flags, and from this machine."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from edgevision.device.cpu_class import cpu_class, cpu_computes

COMMON = "fpu sse sse2 ssse3 sse4_1 sse4_2 f16c fma avx"
RECORDED = {
    # Flags as these CPUs print them, those without meaning here left out.
    "Intel Xeon E5-2670": (f"flags\t\t: {COMMON}", "x86-64 AVX"),
    "AMD EPYC 7551 (Zen 1)": (f"flags\t\t: {COMMON} bmi1 avx2 bmi2 sha_ni", "x86-64 AVX2"),
    "Intel Xeon 6148 (Skylake)": (
        f"flags\t\t: {COMMON} avx2 avx512f avx512dq avx512cd avx512bw avx512vl",
        "x86-64 AVX-512",
    ),
    "Intel Core i5-12600K": (f"flags\t\t: {COMMON} avx2 gfni vaes avx_vnni", "x86-64 AVX-VNNI"),
    "AMD EPYC 9654 (Zen 4)": (
        f"flags\t\t: {COMMON} avx2 avx512f avx512bw avx512_bf16 avx512_vnni",
        "x86-64 AVX-512 VNNI",
    ),
    "Intel Xeon 8481C (Sapphire Rapids)": (
        f"flags\t\t: {COMMON} avx2 avx512f avx512bw avx512_vnni avx_vnni amx_bf16 amx_tile amx_int8",
        "x86-64 AMX",
    ),
    "Raspberry Pi 4 (Cortex-A72)": ("Features\t: fp asimd evtstrm crc32 cpuid", "aarch64 NEON"),
    "Jetson Orin (Cortex-A78AE)": (
        "Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp lrcpc dcpop asimddp",
        "aarch64 dot product",
    ),
    "AWS Graviton3 (Neoverse V1)": (
        "Features\t: fp asimd fphp asimdhp asimddp sve i8mm bf16",
        "aarch64 SVE I8MM",
    ),
    "no flags": ("model name\t: something", platform.machine()),
}


@pytest.mark.parametrize(("line", "expected"), RECORDED.values(), ids=RECORDED)
def test_class_of_recorded_cpus(line: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"processor\t: 0\n{line}\n\nprocessor\t: 1\n{line}\n")
    assert cpu_class(tmp_path) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AMD EPYC 7551 (Zen 1)", ()),
        ("AMD EPYC 9654 (Zen 4)", ("bf16",)),
        ("Intel Xeon 8481C (Sapphire Rapids)", ("bf16",)),
        ("Raspberry Pi 4 (Cortex-A72)", ()),
        ("Jetson Orin (Cortex-A78AE)", ("fp16",)),
        ("AWS Graviton3 (Neoverse V1)", ("bf16", "fp16")),
        ("no flags", ()),
    ],
)
def test_types_that_recorded_cpus_compute(name: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"processor\t: 0\n{RECORDED[name][0]}\n")
    assert cpu_computes(tmp_path) == expected


def test_without_cpuinfo_the_architecture(tmp_path: Path) -> None:
    assert cpu_class(tmp_path) == platform.machine()


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="no /proc/cpuinfo on this system")
def test_class_of_this_machine() -> None:
    assert cpu_class().startswith(("x86-64", "aarch64", platform.machine()))
