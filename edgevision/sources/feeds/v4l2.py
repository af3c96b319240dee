"""Modes of a local camera, read from its Video4Linux2 driver, and the choice among them.

OpenCV's default is 640x480, and many cameras deliver 5 frames/s at 1080p unless Motion JPEG is requested. Numbers and
structures are those of ``include/uapi/linux/videodev2.h``.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from edgevision.errors import SourceError

OPTIONS = ("width", "height", "fps", "format")
LARGEST_WH = (1920, 1080)
"""Maximum size of an automatically chosen mode; larger ones exceed the input of most models."""
ENOUGH_FPS = 30.0
_CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
_DISCRETE = 1  # V4L2_FRMSIZE_TYPE_DISCRETE, V4L2_FRMIVAL_TYPE_DISCRETE


class _FormatDescription(ctypes.Structure):
    _fields_ = [
        ("index", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("description", ctypes.c_char * 32),
        ("pixelformat", ctypes.c_uint32),
        ("mbus_code", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 3),
    ]


class _FrameSize(ctypes.Structure):
    _fields_ = [
        ("index", ctypes.c_uint32),
        ("pixel_format", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        # Discrete: width, height. Stepwise: min, max and step of the width, then of the height.
        ("sizes", ctypes.c_uint32 * 6),
        ("reserved", ctypes.c_uint32 * 2),
    ]


class _FrameInterval(ctypes.Structure):
    _fields_ = [
        ("index", ctypes.c_uint32),
        ("pixel_format", ctypes.c_uint32),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        # Numerator and denominator of the interval in seconds; stepwise: of the shortest, the longest and the step.
        ("intervals", ctypes.c_uint32 * 6),
        ("reserved", ctypes.c_uint32 * 2),
    ]


def _read_write(number: int, kind: type[ctypes.Structure]) -> int:
    """``_IOWR('V', number, kind)``."""
    return (3 << 30) | (ctypes.sizeof(kind) << 16) | (ord("V") << 8) | number


ENUM_FORMATS = _read_write(2, _FormatDescription)
ENUM_SIZES = _read_write(74, _FrameSize)
ENUM_INTERVALS = _read_write(75, _FrameInterval)

Ioctl = Callable[[int, int, Any], int]


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """Requested mode of a camera; None: the best Motion JPEG mode up to 1080p at 30 frames/s."""

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    format: str | None = None
    """Four letters, such as ``MJPG`` or ``YUYV``."""

    @property
    def given(self) -> bool:
        """True if any option was given."""
        return self != DeviceOptions()


@dataclass(frozen=True, slots=True)
class Mode:
    """A mode of a camera."""

    format: str
    width: int
    height: int
    fps: float

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {self.fps:g} frames/s, {self.format}"


def parse_device(text: str) -> tuple[int, DeviceOptions] | None:
    """``0``, ``/dev/video0`` and either with ``?width=1280&height=720&fps=30&format=mjpg``; None for anything else.

    Raises `SourceError` for an unknown option or an invalid value.
    """
    match = re.fullmatch(r"(?:/dev/video)?(\d{1,3})(?:\?(.*))?", text, re.DOTALL)
    if match is None:
        return None
    values: dict[str, Any] = {}
    for key, value in parse_qsl(match[2] or "", keep_blank_values=True):
        if key not in OPTIONS:
            raise SourceError(f"camera {text}: unknown option {key!r}; expected one of: {', '.join(OPTIONS)}")
        values[key] = _value(text, key, value)
    if match[2] is not None and not values:
        raise SourceError(f"camera {text}: no option after ?; expected one of: {', '.join(OPTIONS)}")
    if ("width" in values) != ("height" in values):
        raise SourceError(f"camera {text}: only one of width and height was given; expected both")
    return int(match[1]), DeviceOptions(**values)


def modes(device: Path, ioctl: Ioctl = fcntl.ioctl) -> tuple[Mode, ...]:
    """All modes that the driver lists, with the maximum of stepwise sizes. Empty if there are none or on an error."""
    try:
        with _opened(device) as handle:
            return tuple(_modes(handle, ioctl))
    except OSError:
        return ()


def best_mode(found: tuple[Mode, ...], largest_wh: tuple[int, int] = LARGEST_WH) -> Mode | None:
    """Motion JPEG if available, then the fastest up to 30 frames/s, then the largest up to `largest_wh`."""
    fitting = [mode for mode in found if mode.width <= largest_wh[0] and mode.height <= largest_wh[1]]
    return max(
        fitting or list(found),
        key=lambda mode: (
            mode.format == "MJPG",
            min(mode.fps, ENOUGH_FPS),
            mode.width * mode.height,
            -mode.fps,
        ),
        default=None,
    )


def wanted_mode(options: DeviceOptions, found: tuple[Mode, ...]) -> DeviceOptions:
    """The mode to request: the options, completed by the best mode that matches them."""
    fitting = tuple(
        mode
        for mode in found
        if (options.format in (None, mode.format))
        and (options.width is None or (mode.width, mode.height) == (options.width, options.height))
        and (options.fps is None or mode.fps >= options.fps)
    )
    best = best_mode(fitting)
    if best is None:
        return options
    return DeviceOptions(
        options.width or best.width,
        options.height or best.height,
        options.fps or min(best.fps, ENOUGH_FPS),
        options.format or best.format,
    )


def _value(text: str, key: str, value: str) -> Any:
    if key == "format":
        if not re.fullmatch(r"[A-Za-z0-9 ]{4}", value):
            raise SourceError(
                f"camera {text}: format is {value!r}; expected four letters, such as mjpg or yuyv"
            )
        return value.upper()
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    most = 1000.0 if key == "fps" else 16384.0
    if not 0 < number <= most or (key != "fps" and not number.is_integer()):
        kind = "a number" if key == "fps" else "a whole number"
        raise SourceError(f"camera {text}: {key} is {value!r}; expected {kind} above 0 and at most {most:g}")
    return number if key == "fps" else int(number)


@contextmanager
def _opened(device: Path) -> Iterator[int]:
    handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield handle
    finally:
        os.close(handle)


def _modes(handle: int, ioctl: Ioctl) -> Iterator[Mode]:
    for found in _all(handle, ioctl, ENUM_FORMATS, _FormatDescription, {"type": _CAPTURE}):
        code = found.pixelformat
        name = code.to_bytes(4, "little").decode("ascii", "replace")
        for size in _all(handle, ioctl, ENUM_SIZES, _FrameSize, {"pixel_format": code}):
            discrete = size.type == _DISCRETE
            width, height = (size.sizes[0], size.sizes[1]) if discrete else (size.sizes[1], size.sizes[4])
            which = {"pixel_format": code, "width": width, "height": height}
            for interval in _all(handle, ioctl, ENUM_INTERVALS, _FrameInterval, which):
                numerator, denominator = interval.intervals[0], interval.intervals[1]
                if numerator:
                    yield Mode(name, width, height, denominator / numerator)
                if interval.type != _DISCRETE:  # the shortest interval of a range comes first
                    break
            if not discrete:
                break


def _all(
    handle: int, ioctl: Ioctl, request: int, kind: type[ctypes.Structure], fields: dict[str, int]
) -> Iterator[Any]:
    """Call with index 0, 1, ... until the driver returns an error."""
    for index in range(256):
        value = kind(index=index, **fields)
        try:
            ioctl(handle, request, value)
        except OSError:
            return
        yield value
