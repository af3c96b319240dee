"""Options of the commands that write a bundle from a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from edgevision.cli.options.suppression import nms_options
from edgevision.cli.options.types import SIZE, tensorrt_option
from edgevision.contract.spec import Layout

F = TypeVar("F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)


def bundle_options(function: F) -> F:
    """Add ``--class-names --frame --layout --images --no-fp16 --tensorrt --output`` and those of NMS."""
    decorators: tuple[Callable[[F], F], ...] = (
        click.option(
            "--class-names",
            "classes",
            type=_PATH,
            help="File of class names, one per line. Default: the names in the model, or numbers.",
        ),
        click.option(
            "--frame",
            type=SIZE,
            help="Camera frame size WxH in pixels; the graph resizes frames of this size itself.",
        ),
        click.option(
            "--layout",
            type=click.Choice(get_args(Layout)),
            default="bgr",
            show_default=True,
            help="Layout of frames: bgr, as OpenCV delivers them, or nv12, the planes of video decoders.",
        ),
        nms_options,
        click.option(
            "--images",
            type=_PATH,
            help="Folder of real images for verification. Default: four included photographs.",
        ),
        click.option(
            "--no-fp16",
            is_flag=True,
            help="Skip the FP16 graph. TensorRT engines then use FP32 and are about half as fast.",
        ),
        tensorrt_option,
        click.option("-o", "--output", type=_PATH, required=True, help="Bundle to write."),
    )
    for decorator in reversed(decorators):
        function = decorator(function)
    return function
