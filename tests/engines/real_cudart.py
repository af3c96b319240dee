"""NVIDIA's real libcudart and its headers, where they are installed: no driver is needed to load them."""

from __future__ import annotations

import os
import re
import sys
from ctypes import POINTER, c_char, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgevision.device.cuda_runtime import SERIES, RuntimeSeries

VARIABLE = "EDGEVISION_TEST_CUDART"
"""Folders, separated by colons, that `pip install --target` filled with NVIDIA's wheels; besides the environment's."""

_TYPES: dict[str, Any] = {
    "int": c_int,
    "size_t": c_size_t,
    "unsigned int": c_uint,
    "unsigned long long": c_ulonglong,
    "float": c_float,
    "void *": c_void_p,
    "cudaError_t": c_int,
    "cudaStream_t": c_void_p,
    "cudaEvent_t": c_void_p,
    "cudaGraph_t": c_void_p,
    "cudaGraphExec_t": c_void_p,
    "cudaGraphNode_t": c_void_p,
    "char": c_char,
}


@dataclass(frozen=True, slots=True)
class RealCudart:
    """The library and the headers of one wheel or toolkit."""

    path: Path
    headers: Path

    def prototype(self, name: str) -> tuple[Any, ...]:
        """Argument types of a function, as ctypes has them."""
        text = (self.headers / "cuda_runtime_api.h").read_text()
        match = re.search(rf"CUDARTAPI {name}\(([^;]*)\);", text)
        assert match is not None, f"{name} is not in {self.headers}"
        arguments = re.sub(r"__dv\(\w+\)", "", match[1])
        return () if arguments == "void" else tuple(_ctype(argument) for argument in arguments.split(","))

    def constant(self, name: str) -> int:
        """Value of a macro or of a member of an enum."""
        text = (self.headers / "driver_types.h").read_text()
        match = re.search(rf"\b{name}\s+=?\s*(0x[0-9a-fA-F]+|\d+)", text)
        assert match is not None, f"{name} is not in {self.headers}"
        return int(match[1], 0)

    def starts_with_name(self, size: int) -> bool:
        """True if the first field of ``cudaDeviceProp`` is the name, of this size."""
        text = (self.headers / "driver_types.h").read_text()
        return re.search(rf"\bcudaDeviceProp\s*{{\s*char\s+name\[{size}\];", text) is not None


def real_cudart(series: RuntimeSeries) -> RealCudart:
    """The library of that version; skips the test without it."""
    named = filter(None, os.environ.get(VARIABLE, "").split(":"))
    folders = [Path(place) / series.folder for place in (*named, *filter(None, sys.path))]
    folders += sorted(Path("/usr/local").glob(f"cuda-{series.major}.*/lib*"), reverse=True)
    for folder in folders:
        found = RealCudart(folder / series.soname, folder.parent / "include")
        if found.path.is_file() and (found.headers / "cuda_runtime_api.h").is_file():
            return found
    pytest.skip(f"{series.soname} is not installed: pip install {series.package}, or set {VARIABLE}")


each_series = pytest.mark.parametrize("series", SERIES, ids=lambda one: one.soname)


def _ctype(argument: str) -> Any:
    """The type of a declared argument: ``const void *src`` is a `c_void_p`."""
    match = re.fullmatch(r"(?:const )?(enum |struct )?(.*?) ?(\**) ?\w*", " ".join(argument.split()))
    assert match is not None
    kind, base, stars = match.groups()
    if kind == "enum ":
        return c_int
    if kind == "struct ":
        assert stars == "*"
        return c_void_p
    if base == "void":
        return c_void_p if stars == "*" else POINTER(c_void_p)
    return POINTER(_TYPES[base]) if stars else _TYPES[base]
