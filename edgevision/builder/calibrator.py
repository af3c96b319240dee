"""Passes INT8 ranges to a DLA before TensorRT 11, which needs a calibrator and ignores Q/DQ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevision.engines.tensorrt.library import Library
from edgevision.errors import BundleError

if TYPE_CHECKING:
    import tensorrt as trt

CACHE = "calibration.cache"
"""The file of a bundle with the INT8 ranges."""


def read_ranges(bundle: Path) -> bytes:
    """The bundle's calibration cache; raises `BundleError` if there is none."""
    path = bundle / CACHE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"a DLA with this TensorRT reads INT8 ranges from {path}: {error.strerror}; create it: edgevision"
            f" quantize {bundle} --target tensorrt --write-calibration-cache"
        ) from error
    if not data.startswith(b"TRT-"):
        raise BundleError(f"{path} is not a calibration cache of TensorRT: it begins with {data[:20]!r}")
    return data


def stored_ranges(library: Library, data: bytes) -> trt.IInt8EntropyCalibrator2:
    """A calibrator without images that returns stored ranges."""
    base: Any = getattr(library.module, library.dialect.dla_calibrator)

    class Stored(base):  # type: ignore[misc]  # a class of whichever library is loaded
        def __init__(self) -> None:
            base.__init__(self)

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> None:  # noqa: ARG002  # the library's signature
            return None

        def read_calibration_cache(self) -> bytes:
            return data

        def write_calibration_cache(self, cache: Any) -> None:
            """Does nothing: the ranges were read."""

    calibrator: trt.IInt8EntropyCalibrator2 = Stored()
    return calibrator
