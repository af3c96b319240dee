"""Compressed samples for records."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Encoding = Literal["int64-le zlib base64"]
MOST_RATIO = 1100
"""zlib compresses to at least 1/1032 of the size; data that claim more are not samples."""


@dataclass(frozen=True, slots=True)
class PackedSamples:
    """Whole nanoseconds in order of measurement: little-endian int64, compressed by zlib, as base64 text."""

    count: int
    data: str
    encoding: Encoding = "int64-le zlib base64"
    unit: Literal["ns"] = "ns"

    @classmethod
    def of(cls, values_ns: Sequence[int]) -> PackedSamples:
        """Compress the values."""
        raw = np.asarray(values_ns, dtype="<i8").tobytes()
        return cls(len(values_ns), base64.b64encode(zlib.compress(raw, 9)).decode("ascii"))

    def values_ns(self) -> tuple[int, ...]:
        """Decompress; raises `ValueError` if the data are damaged or have another count."""
        size = self.count * 8
        try:
            packed = base64.b64decode(self.data, validate=True)
            if self.count < 0 or size > MOST_RATIO * len(packed):
                raise ValueError(f"{len(packed)} compressed bytes cannot hold {self.count} samples")
            raw = zlib.decompressobj().decompress(packed, size + 1)
        except (binascii.Error, zlib.error) as error:
            raise ValueError(f"damaged samples: {error}") from error
        if len(raw) != size:
            raise ValueError(f"damaged samples: expected {size} bytes, found {len(raw)}")
        return tuple(np.frombuffer(raw, dtype="<i8").tolist())
