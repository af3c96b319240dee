"""The pixel format of a third-party network: stated by the user, by the file, or assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from edgevision.errors import GraphError
from edgevision.graph.preprocess import PixelFormat

Three = tuple[float, float, float]

_MEAN = ("mean", "image_mean", "pixel_mean", "norm_mean")
_STD = ("std", "image_std", "pixel_std", "norm_std")
_SCALE = ("rescale_factor", "scale")
_ORDER = ("colour", "color", "color_format", "channel_order", "color_order")
_LARGEST_FRACTION = 2.0
"""A larger mean belongs to pixel values of 0..255."""


@dataclass(frozen=True, slots=True)
class PixelChanges:
    """Stated parts of a pixel format; None for a part that is not stated.

    If one of `scale`, `mean` and `std` is stated, the others become 1/255, 0 and 1. `mean` and `std` are in the
    network's channel order and in the units of ``value * scale``.
    """

    order: Literal["rgb", "bgr"] | None = None
    scale: float | None = None
    mean: Three | None = None
    std: Three | None = None

    def __bool__(self) -> bool:
        return any(part is not None for part in (self.order, self.scale, self.mean, self.std))

    def over(self, base: PixelFormat) -> PixelFormat:
        """The stated parts, and `base` for the others; raises `GraphError` if they cannot be meant."""
        order = self.order or base.order
        if self.scale is None and self.mean is None and self.std is None:
            return replace(base, order=order)
        scale = 1 / 255 if self.scale is None else self.scale
        mean, std = self.mean or (0.0, 0.0, 0.0), self.std or (1.0, 1.0, 1.0)
        if scale <= 0 or min(std) <= 0:
            raise GraphError(
                f"expected a positive scale and std; received scale {scale:g} and std {_three(std)}"
            )
        brightest = 255 * scale
        if brightest <= _LARGEST_FRACTION < max(map(abs, mean)):
            raise GraphError(
                f"the mean {_three(mean)} lies outside the network's pixel values, 0 to {brightest:g}; for a mean in"
                " 0..255 add --scale 1"
            )
        return PixelFormat(order, scale, mean, std)


UNSTATED = PixelChanges()


@dataclass(frozen=True, slots=True)
class PixelChoice:
    """A pixel format with its origin."""

    pixels: PixelFormat
    origin: str
    """Such as "assumed: ImageNet's"."""

    def __str__(self) -> str:
        return f"{pixel_text(self.pixels)} ({self.origin})"


def pixel_text(pixels: PixelFormat) -> str:
    """A pixel format in words, such as "RGB, (value / 255 - 0.5 0.5 0.5) / 0.5 0.5 0.5"."""
    scaled = "value"
    if abs(pixels.scale * 255 - 1) < 1e-9:
        scaled = "value / 255"
    elif pixels.scale != 1:
        scaled = f"value * {pixels.scale:g}"
    if any(pixels.mean):
        scaled = f"({scaled} - {_three(pixels.mean)})"
    if any(part != 1 for part in pixels.std):
        scaled = f"{scaled} / {_three(pixels.std)}"
    return f"{pixels.order.upper()}, {scaled}"


def choose_pixels(asked: PixelChanges, stated: PixelChanges, usual: PixelFormat, origin: str) -> PixelChoice:
    """The user's format over the file's over the usual one, whose `origin` is given."""
    if stated:
        usual, origin = stated.over(usual), "stated in the file's metadata"
    return PixelChoice(asked.over(usual), "as chosen") if asked else PixelChoice(usual, origin)


def stated_pixels(entries: Mapping[str, str]) -> PixelChanges:
    """The pixel format in a file's metadata; entries that cannot be read count as missing.

    `mean_values`, `scale_values` and `reverse_input_channels` are OpenVINO's (docs.openvino.ai, model_api), for values
    of 0..255.
    """
    of_openvino = {key.removeprefix("model_info "): value for key, value in entries.items()}
    mean, std = _numbers(of_openvino.get("mean_values")), _numbers(of_openvino.get("scale_values"))
    scale: float | None = 1.0 if mean or std else None
    if scale is None:
        mean, std = (_numbers(_first(entries, keys)) for keys in (_MEAN, _STD))
        given = _numbers(_first(entries, _SCALE))
        scale = given[0] if given else None
        if scale is None and max([0.0, *(mean or ()), *(std or ())]) > _LARGEST_FRACTION:
            scale = 1.0
    order = _order(_first(entries, _ORDER), of_openvino.get("reverse_input_channels"))
    changes = PixelChanges(order, scale, mean, std)
    try:
        changes.over(PixelFormat())
    except GraphError:
        return PixelChanges(order)
    return changes


def _first(entries: Mapping[str, str], keys: tuple[str, ...]) -> str | None:
    return next((entries[key] for key in keys if key in entries), None)


def _order(text: str | None, reverse: str | None) -> Literal["rgb", "bgr"] | None:
    text = (text or "").strip().lower()
    if text == "rgb" or text == "bgr":
        return "rgb" if text == "rgb" else "bgr"
    if (reverse or "").strip().lower() in ("true", "yes", "1"):
        return "rgb"
    return "bgr" if (reverse or "").strip().lower() in ("false", "no", "0") else None


def _numbers(text: str | None) -> Three | None:
    """Three numbers in any brackets, separated by commas or spaces; one number stands for all three."""
    if text is None or len(text) > 200:
        return None
    try:
        values = [float(part) for part in text.strip().strip("[]()").replace(",", " ").split()]
    except ValueError:
        return None
    if len(values) == 1:
        values *= 3
    if len(values) != 3 or not all(abs(value) < 1e4 for value in values):
        return None
    return values[0], values[1], values[2]


def _three(values: Three) -> str:
    return " ".join(f"{value:g}" for value in values)
