"""The input that timm states in ``config.json`` beside a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgevision.models.classifiers.family import Expected

_TF = "tf_"
_ALSO_VIT = "deit"
"""Models with the names and the architecture of a ViT."""


@dataclass(frozen=True, slots=True)
class TimmConfig:
    """The entries of the file that concern a classifier."""

    architecture: str
    """Such as "efficientnet_b0"."""
    pretrained: Mapping[str, Any]

    @classmethod
    def of(cls, config: Mapping[str, Any], family: str, class_count: int) -> TimmConfig | None:
        """The entries, if the file describes a model of this family with as many classes; else None."""
        architecture, pretrained = config.get("architecture"), config.get("pretrained_cfg")
        if not isinstance(pretrained, dict) or not isinstance(architecture, str):
            return None
        if re.fullmatch(r"[a-z0-9_]{1,80}", architecture) is None:
            return None
        name = architecture.removeprefix(_TF).replace("_", "")
        fits = name.startswith(family.lower()) or (family == "ViT" and name.startswith(_ALSO_VIT))
        return cls(architecture, pretrained) if fits and config.get("num_classes") == class_count else None

    @property
    def pads_like_tensorflow(self) -> bool:
        """True for models whose maps are padded on other sides."""
        return self.architecture.startswith(_TF)

    def over(self, expected: Expected, *, fixed_size: bool) -> Expected:
        """The stated parts, and `expected` for those that are missing or impossible."""
        size = self.pretrained.get("input_size")
        crop = self.pretrained.get("crop_pct")
        if not fixed_size and isinstance(size, list) and len(size) == 3 and all(map(_is_side, size[1:])):
            expected = replace(expected, size_wh=(size[2], size[1]))
        if isinstance(crop, (int, float)) and 0 < crop <= 1:
            expected = replace(expected, crop_fraction=float(crop))
        mean, std = _three(self.pretrained.get("mean")), _three(self.pretrained.get("std"))
        if mean is not None and std is not None and min(std) > 0:
            expected = replace(expected, mean=mean, std=std)
        return expected


def _is_side(value: object) -> bool:
    return type(value) is int and 0 < value <= 4096


def _three(values: object) -> tuple[float, float, float] | None:
    if not isinstance(values, list) or len(values) != 3:
        return None
    if not all(type(value) in (int, float) and abs(value) <= 10 for value in values):
        return None
    return float(values[0]), float(values[1]), float(values[2])
