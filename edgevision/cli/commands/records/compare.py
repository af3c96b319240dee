"""`edgevision compare`."""

from __future__ import annotations

from pathlib import Path

import click

from edgevision.benchmark.paired.options import LimitOptions
from edgevision.benchmark.paired.record import PairedRecord, paired_lines
from edgevision.benchmark.paired.stored import (
    StoredRuns,
    check_same_work,
    conditions,
    stage_rows,
    stored_runs,
)
from edgevision.benchmark.record_files import read_any_record
from edgevision.cli.extras import require_compare
from edgevision.cli.judging import show_verdict
from edgevision.cli.options.groups import limit_options
from edgevision.cli.present import table
from edgevision.errors import UsageError


@click.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path), required=False)
@limit_options
def command(base: Path, new: Path | None, limits: LimitOptions) -> None:
    """Test whether a build is slower than another, from benchmark records.

    BASE and NEW are records of `edgevision bench --record`, or folders with repeated records of one build. A record of
    `edgevision bench --against` contains both builds: pass it alone.

    The compared time is the median of inference alone, per frame. A change counts if p is at most 0.01 and the change
    exceeds the noise floor. The verdict is then sure for pairs that were measured in turns, and likely for separate
    runs. Otherwise it is not sure.
    """
    require_compare("edgevision compare")
    from edgevision.benchmark.paired.verdict import judge_runs, record_verdict

    if new is None:
        record = _paired(base)
        click.echo("\n".join(paired_lines(record)))
        verdict = record_verdict(record, limits.noise_floor)
        show_verdict(record.new.name, record.base.name, verdict, limits)
        return
    before, after = stored_runs(base), stored_runs(new)
    if base.resolve() == new.resolve():
        raise UsageError(
            f"{base} and {new} are the same records; give the records of two builds, or measure a build against itself"
            " with `edgevision bench BUNDLE --against A_COPY`"
        )
    check_same_work(before, after)
    for role, side in (("base", before), ("new", after)):
        click.echo(f"{role}: {side.path}: {side.build}, {side.median_ms:.2f} ms a frame")
    for line in conditions(before, after):
        click.echo(f"WARNING: {line}")
    _show_stages(before, after)
    verdict = judge_runs(before.runs(), after.runs(), floor=limits.noise_floor)
    show_verdict(str(new), str(base), verdict, limits)


def _paired(path: Path) -> PairedRecord:
    if path.is_dir() or not isinstance(record := read_any_record(path), PairedRecord):
        raise UsageError(f"{path} holds one build: `edgevision compare {path} NEW` compares it with another")
    return record


def _show_stages(base: StoredRuns, new: StoredRuns) -> None:
    rows = stage_rows(base, new)
    if rows:
        click.echo(
            "\n".join(["", *table(["stage (latest runs)", "base p50", "new p50", "change"], rows), ""])
        )
