"""Output of comparisons of two builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgevision.errors import VerificationError

if TYPE_CHECKING:
    from edgevision.benchmark.paired.options import LimitOptions
    from edgevision.benchmark.paired.verdict import Verdict


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
