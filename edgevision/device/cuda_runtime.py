"""Finds CUDA's runtime library, libcudart, on this machine. Nothing is loaded.

If the environment variable ``EDGEVISION_CUDART`` is set, the file that it names is used. Otherwise these places are
searched, and the first library is used whose major CUDA version the driver supports:

1. on PCs, the Python packages of this environment (`RuntimeSeries.package`), newest first, and conda's folders;
2. the folders of ``LD_LIBRARY_PATH``, then those of ``/etc/ld.so.conf.d``;
3. the folders where CUDA toolkits and Linux distributions install it.

Python packages are not used on a Jetson. Their aarch64 libraries are built for servers (SBSA). On Orin they load, but
calls that need the Tegra driver fail.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgevision.device.facts import ROOT, board, l4t_version
from edgevision.device.gpu import driver_cuda_version

VARIABLE = "EDGEVISION_CUDART"


@dataclass(frozen=True, slots=True)
class RuntimeSeries:
    """The libraries of one major version of CUDA, which share one file name."""

    major: int
    soname: str
    package: str
    """The Python package with the library for PCs."""
    folder: str
    """The library's folder in that package."""


SERIES = (
    RuntimeSeries(13, "libcudart.so.13", "nvidia-cuda-runtime", "nvidia/cu13/lib"),
    RuntimeSeries(12, "libcudart.so.12", "nvidia-cuda-runtime-cu12", "nvidia/cuda_runtime/lib"),
    RuntimeSeries(11, "libcudart.so.11.0", "nvidia-cuda-runtime-cu11", "nvidia/cuda_runtime/lib"),
)
"""The supported versions, newest first; file names and folders are those of NVIDIA's wheels 11.8.89 to 13.5.37."""


@dataclass(frozen=True, slots=True)
class CudaRuntime:
    """A library file."""

    path: Path
    series: RuntimeSeries
    version: str
    """As precise as the file or package states it: "12.6.68" or "12"."""
    package: str | None = None
    """The Python package that holds it; None for a file of the system."""

    @property
    def text(self) -> str:
        """Version and origin, for records, without the path of a Python environment."""
        return f"{self.version} {self.package or self.path}"


def find_cuda_runtime(root: Path = ROOT) -> CudaRuntime | None:
    """The library to load; None if this machine has none.

    If the driver supports none of those that were found, the first one is returned. `root` is the root of the file
    tree.
    """
    found = list(_found(root))
    driver = driver_cuda_version() // 1000
    fitting = [library for library in found if not driver or library.series.major <= driver]
    return next(iter([*fitting, *found]), None)


def searched_places(root: Path = ROOT) -> tuple[str, ...]:
    """The places that `find_cuda_runtime` searches, in order, for messages."""
    named = os.environ.get(VARIABLE)
    if named:
        return (f"{VARIABLE}={named}",)
    packages = [] if is_jetson(root) else [f"Python packages {', '.join(one.package for one in SERIES)}"]
    return (*packages, *(str(folder) for folder in _folders(root)))


def install_command(root: Path = ROOT) -> str:
    """The command that installs the library that fits this machine's driver."""
    driver = driver_cuda_version()
    if is_jetson(root):
        return apt_command(driver // 1000, driver % 1000 // 10)
    return f"pip install {pip_package(driver // 1000)}"


def apt_command(major: int, minor: int) -> str:
    """The command for a Jetson whose driver supports this version of CUDA; 0 if the version is not known."""
    return f"sudo apt install cuda-cudart-{major}-{minor}" if major else "sudo apt install nvidia-jetpack"


def pip_package(driver_major: int) -> str:
    """The Python package for a PC with this driver: CUDA 12 also runs on newer drivers, and fits most of them."""
    return SERIES[2].package if driver_major == 11 else SERIES[1].package


def is_jetson(root: Path = ROOT) -> bool:
    """True for a Jetson, also inside a container, and on boards of other makers with its module."""
    if l4t_version(root) is not None or "Jetson" in (board(root) or ""):
        return True
    try:
        return b"nvidia,tegra" in (root / "proc/device-tree/compatible").read_bytes()
    except OSError:
        return False


def _found(root: Path) -> Iterator[CudaRuntime]:
    """All libraries in the order of the search, each file once."""
    named = os.environ.get(VARIABLE)
    if named:
        name = Path(named).resolve().name
        yield _library(Path(named), next((one for one in SERIES if one.soname in name), SERIES[0]))
        return
    seen: set[Path] = set()
    packages = () if is_jetson(root) else _in_packages()
    system = (_library(folder / one.soname, one) for folder in _folders(root) for one in SERIES)
    for library in (*packages, *system):
        if library.path.is_file() and library.path.resolve() not in seen:
            seen.add(library.path.resolve())
            yield library


def _in_packages() -> Iterator[CudaRuntime]:
    for one in SERIES:
        for place in map(Path, filter(None, sys.path)):
            path = place / one.folder / one.soname
            if path.is_file():
                version = _package_version(one)
                yield CudaRuntime(path, one, version or str(one.major), one.package)


def _package_version(series: RuntimeSeries) -> str | None:
    try:
        return importlib.metadata.version(series.package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _library(path: Path, series: RuntimeSeries) -> CudaRuntime:
    """A file of the system. The version is in its full name or the toolkit's folder: CUDA 11 kept the name 11.0."""
    resolved = str(path.resolve())
    match = re.search(r"\.so\.(\d+\.\d+\.\d+)$", resolved) or re.search(r"/cuda-(\d+\.\d+)/", resolved)
    return CudaRuntime(path, series, match[1] if match else str(series.major))


def _folders(root: Path) -> Iterator[Path]:
    """Folders of the system that may hold the library, whether they exist or not."""
    prefix = Path(sys.prefix)
    if (prefix / "conda-meta").is_dir() and not is_jetson(root):
        yield from (prefix / "lib", *sorted(prefix.glob("targets/*/lib")))
    yield from map(Path, filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")))
    for file in sorted((root / "etc/ld.so.conf.d").glob("*.conf")):
        try:
            lines = file.read_text(errors="replace").splitlines()
        except OSError:
            continue
        yield from (root / line.strip().lstrip("/") for line in lines if line.strip().startswith("/"))
    toolkits = sorted((root / "usr/local").glob("cuda-*"), key=lambda path: _numbers(path.name), reverse=True)
    for toolkit in (root / "usr/local/cuda", *toolkits, root / "opt/cuda"):
        yield from (toolkit / "lib64", *sorted(toolkit.glob("targets/*/lib")))
    yield from (root / "usr/lib" / f"{platform.machine()}-linux-gnu", root / "usr/lib64")


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", name)))
