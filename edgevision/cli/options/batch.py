"""Options of the commands that run several cameras on one engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

import click

from edgevision.cli.options.numbers import FiniteRange
from edgevision.pipeline.options import PipelineOptions

if TYPE_CHECKING:  # generic for the type checker alone in older versions of click
    _Rows = click.ParamType[int | Literal["auto"]]
else:
    _Rows = click.ParamType

Command = TypeVar("Command", bound=Callable[..., object])


class RowsType(_Rows):
    """``auto`` or a number above 0."""

    name = "auto|N"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Literal["auto"]:
        """Read the text."""
        text = str(value).strip()
        if text == "auto":
            return "auto"
        if not text.isdecimal() or int(text) == 0:
            self.fail(f"{text!r} is no batch size; give auto, or a number such as 4", param, ctx)
        return int(text)


def batch_options(command: Command) -> Command:
    """``--batch``, ``--fill-ms`` and ``--max-age-ms``, as the arguments `batch`, `fill_ms` and `max_age_ms`."""
    max_age = click.option(
        "--max-age-ms",
        type=FiniteRange(min=0, min_open=True),
        metavar="MS",
        help="Drop a camera's frames rather than give results that are older than this.",
    )
    fill = click.option(
        "--fill-ms",
        type=FiniteRange(min=0),
        default=PipelineOptions().fill_ms,
        show_default=True,
        metavar="MS",
        help="How long a batch waits for frames of other cameras.",
    )
    batch = click.option(
        "--batch",
        type=RowsType(),
        default="auto",
        show_default=True,
        help="Frames a call of the engine. auto: the smallest within 5 % of the best, measured with several cameras.",
    )
    return batch(fill(max_age(command)))
