"""Options for the run of a diffusion pipeline that a graph contains."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import click

from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.options.types import MEMORY


class SamplingOptions(NamedTuple):
    """The stated settings of a run; None: the pipeline's usual ones."""

    steps: int | None = None
    guidance: float | None = None
    graphs: Literal["one", "several"] | None = None
    memory_bytes: int | None = None


_OPTIONS = (
    click.option(
        "--steps",
        type=click.IntRange(min=1),
        help="Steps of a diffusion pipeline, all in one graph. Default: 20; 4 and 1 for pipelines made for few steps.",
    ),
    click.option(
        "--guidance",
        type=FiniteRange(min=0),
        help="Guidance scale of a diffusion pipeline; at most 1: none. Default: 7.5; 0 for pipelines made for one"
        " step.",
    ),
    click.option(
        "--graphs",
        type=click.Choice(["one", "several"]),
        help="One graph for a whole diffusion pipeline, or one for each of its parts. Default: several if the weights"
        " exceed 1.9 GB, or with --memory.",
    ),
    click.option(
        "--memory",
        type=MEMORY,
        help="Memory of the device for the graphs of a diffusion pipeline, such as 8GB or 512MB. Graphs that exceed it"
        " together are loaded in turn.",
    ),
)


def sampling_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--steps --guidance --graphs --memory``; the function gets them as `sampling`, a `SamplingOptions`."""

    @functools.wraps(function)
    def with_sampling(*args: Any, steps: Any, guidance: Any, graphs: Any, memory: Any, **kwargs: Any) -> Any:
        return function(*args, sampling=SamplingOptions(steps, guidance, graphs, memory), **kwargs)

    wrapped: Callable[..., Any] = with_sampling
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
