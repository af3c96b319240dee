"""Calibrated ranges: the largest magnitude that each tensor must represent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Method = Literal["mse", "percentile", "entropy", "max"]
METHODS: tuple[Method, ...] = ("mse", "percentile", "entropy", "max")

INT8_MAX = 127
"""Symmetric INT8 as in TensorRT: -127..127 with a zero-point of 0."""
INT7_MAX = 64
"""The largest weight whose products with activations of 0..255 may be added in pairs in 16 bits: 2 x 255 x 64 = 32,640.

With 65, OpenVINO's sums saturate at 32,767 on a CPU with AVX2 and without VNNI.
"""


@dataclass(frozen=True, slots=True)
class Ranges:
    """Thresholds by tensor name, from `images` frames: magnitudes above a threshold saturate.

    A tensor that was 0 on every frame has the threshold 0; its scale is unknown.
    """

    method: Method
    images: int
    thresholds: Mapping[str, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", MappingProxyType(dict(self.thresholds)))

    def scale(self, tensor: str) -> float:
        """The step of symmetric INT8: threshold / 127; 1 for a tensor that was always 0. Raises `KeyError`."""
        return self.thresholds[tensor] / INT8_MAX or 1.0
