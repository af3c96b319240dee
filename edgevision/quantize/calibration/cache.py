"""TensorRT's calibration cache: INT8 ranges for TensorRT 8 to 10 and their DLAs, for graphs without Q/DQ.

A text file: a line ``TRT-<version>-<calibrator>``, then for each tensor its name, a colon, a blank, and the float32
scale (the largest magnitude over 127) as the eight hexadecimal digits of its IEEE 754 bits, most significant first.
NVIDIA documents it in the README of its sample sampleINT8, section "Calibration file". A builder uses the file in place
of its own calibrator's result and runs no calibration.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgevision.errors import SinkError, SourceError, UsageError
from edgevision.quantize.calibration.ranges import Ranges
from edgevision.storage import atomic

CALIBRATOR = "EntropyCalibration2"
"""Required class of the builder's calibrator: trtexec has it, and a DLA accepts no other.

The file does not show the method that found the ranges.
"""

TENSORRT = "8.6.1"
"""The default version: builders of TensorRT 8 to 10 accept files of an older one."""

_HEADER = re.compile(r"TRT-(\d+)-(\w+)")
_ENTRY = re.compile(r"(.+): ([0-9a-f]{8})")


def cache_text(scales: Mapping[str, float], tensorrt: str = TENSORRT) -> str:
    """The file's text for these scales by tensor name.

    Raises `UsageError` for a scale that is not a positive float32, and for a name with a line break.
    """
    lines = [f"TRT-{_version_number(tensorrt)}-{CALIBRATOR}"]
    for name, scale in scales.items():
        single = np.float32(scale)
        if not (np.isfinite(single) and single > 0):
            raise UsageError(f"the scale of tensor {name!r} is {scale}; expected a positive float32")
        if not name or name.splitlines() != [name]:
            raise UsageError(
                f"tensor {name!r} cannot be written to a calibration cache: its name has a line break"
            )
        lines.append(f"{name}: {struct.pack('>f', single).hex()}")
    return "\n".join(lines) + "\n"


def read_cache(text: str) -> dict[str, float]:
    """The scales by tensor name of a calibration cache; raises `SourceError` that names an invalid line."""
    first, *rest = text.splitlines() or [""]
    if _HEADER.fullmatch(first) is None:
        raise SourceError(
            f"not a calibration cache: it begins with {first[:40]!r}; expected TRT-<version>-<calibrator>"
        )
    scales = {}
    for number, line in enumerate(rest, start=2):
        entry = _ENTRY.fullmatch(line.rstrip())
        if entry is not None:
            scales[entry[1]] = float(struct.unpack(">f", bytes.fromhex(entry[2]))[0])
        elif line.strip():
            raise SourceError(
                f"line {number} of the calibration cache is {line[:60]!r}; expected a tensor's name, a colon and eight"
                " hexadecimal digits"
            )
    return scales


def write_calibration_cache(path: Path, ranges: Ranges, tensorrt: str = TENSORRT) -> None:
    """Write the ranges as a cache for that version of TensorRT.

    Tensor names are the graph's own, as TensorRT's ONNX parser keeps them. Raises `SinkError` if the file cannot be
    written.
    """
    scales = {name: ranges.scale(name) for name in sorted(ranges.thresholds)}
    try:
        atomic.write_file(path, cache_text(scales, tensorrt).encode())
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}") from error


def _version_number(version: str) -> int:
    """The version's number in the header: 8.6.1 is 8601; 10.3.0 is 100300, with two digits for each part."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if match is None:
        raise UsageError(f"{version!r} is not a TensorRT version; expected for example 8.6.1 or 10.3.0")
    major, minor, patch = (int(part) for part in match.groups())
    return major * 10000 + minor * 100 + patch if major >= 10 else major * 1000 + minor * 100 + patch
