"""Images in the forms in which people have them, as BGR frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from edgevision.contract.image import Frame
from edgevision.errors import UsageError
from edgevision.sources.addresses import SourceAddress
from edgevision.sources.opening import is_list, open_source

Colour = Literal["bgr", "rgb"]
ACCEPTED = "a path, an address, a PIL image, a uint8 array [H,W,3], [H,W,4] or [H,W], or a list or generator of these"


@dataclass(frozen=True, slots=True, eq=False)
class InputImage:
    """One image of a call."""

    frame_bgr: Frame
    """uint8 ``[H,W,3]``; the caller's own array where that is BGR already."""
    name: str
    """Path or address; "" for arrays."""


def is_single(value: object) -> bool:
    """True for one image: a call with it returns one prediction. A folder or pattern is several."""
    if isinstance(value, (str, Path)):
        address = SourceAddress.parse(value)
        several = address.path is not None and (address.path.is_dir() or is_list(address.path))
        return address.kind != "pattern" and not several
    return (isinstance(value, np.ndarray) and value.ndim in (2, 3)) or is_pil(value)


def images_of(value: object, colour: Colour = "bgr") -> Iterator[InputImage]:
    """All images of an argument, in order; files and generators are read one by one.

    `colour` is the channel order of arrays; PIL images are always RGB. Raises `UsageError` for another type or dtype,
    `SourceError` for a file that cannot be read.
    """
    if isinstance(value, (str, Path)):
        with open_source(value) as source:
            if source.live:
                raise UsageError(
                    f"{source.name} is a live source: use for frame, prediction in model.stream(...)"
                )
            if source.fps is not None:
                raise UsageError(f"{source.name} is a video: use for frame, prediction in model.stream(...)")
            for frame in source:
                yield InputImage(frame.image_bgr, frame.source)
    elif is_pil(value):
        image: Any = value
        yield InputImage(_swapped(np.asarray(image.convert("RGB"))), str(getattr(image, "filename", "")))
    elif isinstance(value, np.ndarray) and value.ndim in (2, 3):
        yield InputImage(_bgr(value, colour), "")
    elif isinstance(value, np.ndarray) and value.ndim == 4:
        for array in value:
            yield InputImage(_bgr(array, colour), "")
    elif isinstance(value, Iterable) and not isinstance(value, (bytes, dict, np.ndarray)):
        for item in value:
            if not is_single(item):
                raise UsageError(f"received {_described(item)} inside a list; expected {ACCEPTED}")
            yield from images_of(item, colour)
    else:
        raise UsageError(f"received {_described(value)}; expected {ACCEPTED}")


def is_pil(value: object) -> bool:
    """True for an image of Pillow, which is not imported here."""
    return type(value).__module__.split(".")[0] == "PIL" and hasattr(value, "convert")


def _bgr(array: np.ndarray[Any, Any], colour: Colour) -> Frame:
    if colour not in ("bgr", "rgb"):
        raise UsageError(f'colour is {colour!r}; expected "bgr" or "rgb"')
    if array.dtype != np.uint8:
        raise UsageError(
            f"received an array of {array.dtype} {list(array.shape)}; expected uint8 0..255, such as"
            " (image * 255).astype(np.uint8) for values from 0 to 1"
        )
    if not array.size:
        raise UsageError(f"received an array without pixels: {list(array.shape)}")
    channels = 1 if array.ndim == 2 else array.shape[2]
    if channels == 1:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_GRAY2BGR), np.uint8)
    if channels == 4:
        array = array[:, :, :3]
    elif channels != 3:
        planes = "; for [3,H,W] pass image.transpose(1, 2, 0)" if array.shape[0] in (1, 3) else ""
        raise UsageError(f"received an array {list(array.shape)}; expected [H,W,3], [H,W,4] or [H,W]{planes}")
    return _swapped(array) if colour == "rgb" else np.ascontiguousarray(array)


def _swapped(array: np.ndarray[Any, Any]) -> Frame:
    return np.ascontiguousarray(array[:, :, ::-1])


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {list(value.shape)} of {value.dtype}"
    return f"{type(value).__name__}"
