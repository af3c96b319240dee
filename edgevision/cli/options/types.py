"""Option types that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from edgevision.contract.spec import BatchRange, problem_of_size

if TYPE_CHECKING:  # older versions of click have no generic types
    _Size = click.ParamType[tuple[int, int]]
    _Batch = click.ParamType[BatchRange]
    _Sms = click.ParamType[tuple[int, ...]]
    _Keypoints = click.ParamType[tuple[int, int]]
    _Three = click.ParamType[tuple[float, float, float]]
    _Factor = click.ParamType[float]
    _Memory = click.ParamType[int]
else:
    _Size = _Batch = _Sms = _Keypoints = _Three = _Factor = _Memory = click.ParamType


class SizeType(_Size):
    """``WxH`` in pixels, as a tuple (width, height); a single number is a square."""

    name = "WxH"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Read the text; a default that is a tuple already passes through."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)(?:[xX](\d+))?", str(value).strip())
        if match is None or "0" in (match[1].lstrip("0") or "0", (match[2] or "1").lstrip("0") or "0"):
            self.fail(
                f"{value!r} is not a size; expected WIDTHxHEIGHT in pixels, such as 640x480", param, ctx
            )
        size_wh = int(match[1]), int(match[2] or match[1])
        problem = problem_of_size(size_wh)
        if problem is not None:
            self.fail(problem, param, ctx)
        return size_wh


class KeypointsType(_Keypoints):
    """``KxD``, as a tuple (number of keypoints, values of each)."""

    name = "KxD"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Read the text."""
        match = re.fullmatch(r"0*([1-9]\d{0,2})[xX]([23])", str(value).strip())
        if match is None:
            self.fail(
                f"{value!r} is not a shape of keypoints; expected their number, and 2 (x y) or 3 (x y confidence)"
                " values of each, such as 17x3",
                param,
                ctx,
            )
        return int(match[1]), int(match[2])


class ThreeType(_Three):
    """One number, or one for each channel separated by commas; ``A/B`` is a fraction."""

    name = "N|N,N,N"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        """Read the text."""
        parts = [_fraction(part) for part in str(value).split(",")]
        numbers = [part for part in parts if part is not None and math.isfinite(part)]
        numbers = numbers * 3 if len(numbers) == 1 else numbers
        if len(numbers) != 3 or len(parts) not in (1, 3):
            self.fail(
                f"{value!r} is not one number or three separated by commas, such as 0.485,0.456,0.406",
                param,
                ctx,
            )
        return numbers[0], numbers[1], numbers[2]


class FactorType(_Factor):
    """A positive number, or a fraction such as ``1/255``."""

    name = "N|N/N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the text."""
        factor = _fraction(str(value))
        if factor is None or not 0 < factor < math.inf:
            self.fail(f"{value!r} is not a positive number or a fraction such as 1/255", param, ctx)
        return factor


def _fraction(text: str) -> float | None:
    """The value of ``N`` or ``N/N``; None for other text."""
    try:
        numerator, _, denominator = text.partition("/")
        return float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        return None


class BatchType(_Batch):
    """``N`` or ``MIN:OPT:MAX``, as a `BatchRange`."""

    name = "N|MIN:OPT:MAX"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> BatchRange:
        """Read the text; a default that is a range already passes through."""
        if isinstance(value, BatchRange):
            return value
        try:
            return BatchRange.parse(str(value))
        except ValueError as error:
            self.fail(f"{error}; expected a batch size such as 4, or a range such as 1:4:8", param, ctx)


class SmsType(_Sms):
    """Compute capabilities separated by commas, each ``89`` or ``8.9``, as whole numbers."""

    name = "SM[,SM...]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read the text; a default that is a tuple already passes through."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(re.fullmatch(r"\d{2,3}|\d{1,2}\.\d", part) for part in parts):
            self.fail(
                f"{value!r} is not a list of compute capabilities; expected for example 86 or 75,86,89,120",
                param,
                ctx,
            )
        return tuple(int(part.replace(".", "")) for part in parts)


class MemoryType(_Memory):
    """``N`` with the unit GB, MB, GiB or MiB, as bytes."""

    name = "NGB|NMB"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the text; a whole number passes through."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(G|M)(i?)B", str(value).strip(), re.IGNORECASE)
        size = 0
        if match is not None:
            base = 1024 if match[3] else 1000
            size = int(float(match[1]) * base ** (3 if match[2].upper() == "G" else 2))
        if not size:
            self.fail(f"{value!r} is not a size of memory; expected for example 8GB or 512MB", param, ctx)
        return size


SIZE = SizeType()
KEYPOINTS = KeypointsType()
THREE = ThreeType()
FACTOR = FactorType()
SMS = SmsType()
BATCH = BatchType()
MEMORY = MemoryType()

TENSORRT_NAMES = ("8.6", "10.3", "10.13", "11.4", "rtx-1.7")
"""Rows of `graph.limits.versions`; a test compares both."""

Command = TypeVar("Command", bound=Callable[..., object])


def tensorrt_option(command: Command) -> Command:
    """Add ``--tensorrt`` of the commands that write graphs, as the argument `tensorrt`."""
    return click.option(
        "--tensorrt",
        multiple=True,
        type=click.Choice(TENSORRT_NAMES),
        help="Fail if this TensorRT version cannot read the graph, according to NVIDIA's documentation; repeatable.",
    )(command)
