"""`edgevision fleet`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from edgevision.benchmark.report.page import page
from edgevision.benchmark.report.rows import report_rows
from edgevision.benchmark.report.tables import markdown
from edgevision.bundle.folder import Bundle
from edgevision.cli.options.defined import option_of
from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.present import Steps
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import Precision
from edgevision.engines.opening import ENGINES
from edgevision.errors import SinkError, VerificationError
from edgevision.fleet.cluster import connected
from edgevision.fleet.node import COMMAND, NodeOptions
from edgevision.fleet.package import package
from edgevision.fleet.run import DeviceResult, FleetBench
from edgevision.storage import atomic

FILE = click.Path(path_type=Path)


@click.group()
def command() -> None:
    """Run a benchmark on many devices, which Ray connects."""


@command.command()
@click.argument("bundle", type=FILE)
@click.option(
    "--address",
    required=True,
    help="The Ray cluster: ray://HOST:10001, or HOST:6379 on a machine of the cluster; local: this machine alone.",
)
@click.option("--board", help="Only devices with this custom resource. Default: all with any.")
@click.option(
    "--engine", type=click.Choice(ENGINES), help="Engine to measure. Default: the fastest on each device."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the engine. Default: all cores.")
@click.option(
    "--seconds",
    type=FiniteRange(min=0, min_open=True),
    default=9.0,
    show_default=True,
    help="Minimum time in seconds for each of: inference alone, end to end, stage by stage.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of paired rounds that share this time.",
)
@option_of(SessionOptions, "precision")
@click.option(
    "--timeout",
    type=FiniteRange(min=0, min_open=True),
    default=1800.0,
    show_default=True,
    help="Seconds after which a device that finishes no step is given up.",
)
@click.option(
    "--records", type=FILE, default=Path("fleet"), show_default=True, help="Folder for the records."
)
@click.option("--html", "html_file", type=FILE, help="Write the report as a page with charts.")
def bench(
    bundle: Path,
    address: str,
    board: str | None,
    engine: str | None,
    threads: int | None,
    seconds: float,
    rounds: int,
    precision: Precision | None,
    timeout: float,
    records: Path,
    html_file: Path | None,
) -> None:
    """Measure a bundle on every device of a fleet.

    Each device is a node of a Ray cluster with its board as a custom resource: ray start --address=HEAD:6379
    --resources='{"orin-nano": 1}'. Devices that lack the bundle fetch it once. Each builds its TensorRT engine if it
    has a GPU, runs the golden frames, and measures as `edgevision bench` does. One record for each device is written,
    and one report printed.

    A device that dies, that does not answer within --timeout, or whose results differ from the golden ones is reported;
    the others continue. The exit code is then 2.
    """
    packed = package(Bundle.open(bundle))
    options = NodeOptions(engine, precision, threads, seconds, rounds)
    with connected(address, COMMAND) as fleet:
        devices = fleet.devices(board)
        click.echo(f"devices ({len(devices)}): {', '.join(device.name for device in devices)}", err=True)
        run = FleetBench(fleet, packed, options, records, timeout, Steps().done)
        results = run.run(devices)
    _report(results, html_file)


def _report(results: tuple[DeviceResult, ...], html_file: Path | None) -> None:
    """Print the report of the records; raises `VerificationError` if a device gave none."""
    rows = [
        replace(row, label=f"{row.label}, {result.device.name}")
        for result in results
        if result.record is not None
        for row in report_rows([result.record], {})
    ]
    if rows:
        click.echo(markdown(rows), nl=False)
        if html_file is not None:
            try:
                html_file.parent.mkdir(parents=True, exist_ok=True)
                atomic.write_file(html_file, page(rows, "Fleet").encode())
            except OSError as error:
                raise SinkError(f"cannot write {html_file}: {error.strerror}") from error
    lost = [f"{result.device.name}: {result.problem}" for result in results if result.problem is not None]
    if lost:
        count = f"{len(lost)} of {len(results)} devices gave no record"
        raise VerificationError("\n".join([count, *lost]))
