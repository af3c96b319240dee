"""Options and output of comparisons of two builds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from edgevision.cli.options.numbers import FiniteRange
from edgevision.errors import VerificationError

if TYPE_CHECKING:
    from edgevision.benchmark.paired.verdict import Verdict

Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """Limits of a comparison, as shares; None: not given."""

    fail_above: float | None
    noise_floor: float | None

    @classmethod
    def of(cls, fail_above_percent: float | None, noise_floor_percent: float | None) -> LimitOptions:
        """Convert from percent."""
        shares = (
            value if value is None else value / 100 for value in (fail_above_percent, noise_floor_percent)
        )
        return cls(*shares)


def limit_options(command: Command) -> Command:
    """Add `--fail-above` and `--noise-floor`."""
    command = click.option(
        "--noise-floor",
        type=FiniteRange(min=0),
        metavar="PCT",
        help="Smallest change that counts, in %. Default: 1; for separate runs at least the median difference between"
        " two runs of one build.",
    )(command)
    return click.option(
        "--fail-above",
        type=FiniteRange(min=0),
        metavar="PCT",
        help="End with exit code 2 if the new build is slower by more than PCT % and the verdict is sure or likely.",
    )(command)


def show_verdict(new: str, base: str, verdict: Verdict, limits: LimitOptions) -> None:
    """Print the sentence; raises `VerificationError` if the limit is exceeded."""
    from edgevision.benchmark.paired.pairs import rounded_percent

    click.echo(f"{new} compared with {base}: {verdict.sentence}")
    if limits.fail_above is None:
        return
    if verdict.exceeds(limits.fail_above):
        raise VerificationError(
            f"{new} is {rounded_percent(verdict.change.estimate)} than {base}: the limit of --fail-above is"
            f" {limits.fail_above * 100:g} %"
        )
    if verdict.cannot_exclude(limits.fail_above):
        click.echo(
            f"WARNING: a slow-down above {limits.fail_above * 100:g} % is not excluded: raise --max-pairs",
            err=True,
        )
