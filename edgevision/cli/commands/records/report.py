"""`edgevision report`."""

from __future__ import annotations

from pathlib import Path

import click

from edgevision.benchmark.report.page import page
from edgevision.benchmark.report.rows import Accuracy, read_accuracy, report_rows
from edgevision.benchmark.report.tables import comma_separated, markdown
from edgevision.errors import SinkError, UsageError
from edgevision.storage import atomic

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("results", nargs=-1, required=True, type=FILE)
@click.option("--html", "html_file", type=FILE, help="Write one self-contained page with charts.")
@click.option(
    "--markdown",
    "markdown_file",
    type=FILE,
    help="Write a Markdown table. Default without --html and --csv: print it.",
)
@click.option("--csv", "csv_file", type=FILE, help="Write all figures as CSV, for a spreadsheet.")
@click.option(
    "--accuracy",
    "pairs",
    multiple=True,
    metavar="RECORD=EVAL",
    help="Accuracy of the graph of RECORD: EVAL is the file of `edgevision eval --record`; repeatable.",
)
@click.option("--title", default="Benchmarks", show_default=True, help="Heading of the page.")
def command(
    results: tuple[Path, ...],
    html_file: Path | None,
    markdown_file: Path | None,
    csv_file: Path | None,
    pairs: tuple[str, ...],
    title: str,
) -> None:
    """Make a page, a table or a CSV file from benchmark records.

    RESULTS are records of `edgevision bench --record`, of any kind, or folders of records. The page shows latencies in
    ms with their distributions, frames/s, stages, long runs over time, the machines, and the runs that must not be
    compared. Where records contain accuracy (`bench --eval-images`), or with --accuracy, it also shows accuracy over
    latency, and the Pareto front.
    """
    rows = report_rows(results, dict(_accuracy(pair) for pair in pairs))
    if html_file is not None:
        _write(html_file, page(rows, title))
    if csv_file is not None:
        _write(csv_file, comma_separated(rows))
    if markdown_file is not None:
        _write(markdown_file, markdown(rows))
    elif html_file is None and csv_file is None:
        click.echo(markdown(rows), nl=False)


def _accuracy(pair: str) -> tuple[Path, Accuracy]:
    record, equals, evaluated = pair.rpartition("=")
    if not equals or not record or not evaluated:
        raise UsageError(f"--accuracy {pair!r}: expected RECORD=EVAL, such as bench.json=eval.json")
    return Path(record), read_accuracy(Path(evaluated))


def _write(path: Path, text: str) -> None:
    """Write the file whole or not at all; raises `SinkError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_file(path, text.encode())
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"wrote {path}", err=True)
