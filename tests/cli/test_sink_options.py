"""Options that select the sinks."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgevision.analytics.options import AnalyticsOptions
from edgevision.cli.commands.live import command as live_command
from edgevision.cli.commands.run import command as run_command
from edgevision.cli.options.sinks import SinkArguments, sink_lines, sink_options
from edgevision.errors import UsageError
from edgevision.pipeline.pipeline import run_pipeline
from edgevision.sinks.addresses import SinkOptions
from edgevision.sinks.background import BackgroundSink
from edgevision.sinks.files.csv_table import CsvSink
from edgevision.sinks.files.event_images import EventImageSink
from edgevision.sinks.files.json_lines import JsonlSink
from edgevision.sinks.webhook import WebhookSink
from tests.doubles import BrightnessSession, MemorySource


@click.command()
@sink_options
def command(sinks: SinkArguments) -> None:
    click.echo(repr(sinks))


def parsed(*arguments: str) -> str:
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output.strip()


def invoked(name: str, *arguments: str) -> None:
    """`edgevision run` or `live`, which fails before it opens the bundle."""
    chosen = {"run": run_command, "live": live_command}[name]
    CliRunner().invoke(chosen, ["no-bundle", "demo:", *arguments], catch_exceptions=False)


def test_options_become_one_argument() -> None:
    assert parsed() == repr(SinkArguments())
    options = SinkOptions(keep=5, max_mib=1.5, max_days=2.0, classes=("person", "cat"))
    expected = SinkArguments(
        Path("a.csv"), ("mqtt://a", "mqtt://b"), ("http://h",), Path("pics"), options, True
    )
    arguments = ["--csv", "a.csv", "--mqtt", "mqtt://a", "--mqtt", "mqtt://b", "--webhook", "http://h"]
    arguments += ["--webhook-results", "--events", "pics", "--event-classes", "person, cat,"]
    assert parsed(*arguments, "--keep", "5", "--keep-mib", "1.5", "--keep-days", "2") == repr(expected)


def test_a_table_is_called_like_one() -> None:
    with pytest.raises(
        UsageError, match=r"--csv out\.txt has another suffix; expected a name that ends in \.csv"
    ):
        parsed("--csv", "out.txt")


@pytest.mark.parametrize(
    ("given", "value"),
    [("--event-classes", "person"), ("--keep", "5"), ("--keep-mib", "1.5"), ("--keep-days", "2")],
)
@pytest.mark.parametrize("name", ["run", "live"])
def test_an_option_of_event_images_requires_them(name: str, given: str, value: str) -> None:
    with pytest.raises(
        UsageError, match=f"^{given} has no effect without --events; expected --events FOLDER"
    ):
        invoked(name, given, value, "--webhook", "http://h", "--webhook-results")
    assert parsed(given, value, "--events", "pics") != parsed("--events", "pics")


@pytest.mark.parametrize("name", ["run", "live"])
def test_all_results_of_a_webhook_require_one(name: str) -> None:
    said = "^--webhook-results has no effect without --webhook; expected --webhook URL"
    with pytest.raises(UsageError, match=said):
        invoked(name, "--webhook-results", "--events", "pics", "--event-classes", "person")
    assert "webhook_results=True" in parsed("--webhook-results", "--webhook", "http://h")


def test_a_live_run_waits_for_no_sink_and_a_file_s_run_for_all(tmp_path: Path) -> None:
    wanted = SinkArguments(tmp_path / "a.csv", (), ("http://h.example",), tmp_path / "pics")
    for live in (False, True):
        with contextlib.ExitStack() as stack:
            sinks = wanted.open(
                stack, [MemorySource(1), MemorySource(1, live=live)], jsonl=tmp_path / "a.txt"
            )
            kinds = [type(sink) for sink in sinks]
        assert kinds == (4 * [BackgroundSink] if live else [JsonlSink, CsvSink, WebhookSink, EventImageSink])


def test_the_source_is_never_replaced(tmp_path: Path) -> None:
    source = MemorySource(1)
    for name in ("a.csv", "a.jsonl"):
        source.path = tmp_path / name
        (tmp_path / name).write_text("precious")
        with contextlib.ExitStack() as stack, pytest.raises(UsageError, match="is the source file"):
            SinkArguments(tmp_path / "a.csv").open(stack, [source], jsonl=tmp_path / "a.jsonl")
        assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize("live", [False, True])
def test_a_run_writes_and_reports_its_sinks(tmp_path: Path, live: bool) -> None:
    source = MemorySource(20, live=live)
    with contextlib.ExitStack() as stack:
        sinks = SinkArguments(tmp_path / "a.csv").open(stack, [source], jsonl=tmp_path / "a.jsonl")
        frames = run_pipeline(BrightnessSession(), source, sinks).frames
    assert len([json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]) == frames > 0
    assert sink_lines(sinks) == [f"{tmp_path}/a.{end}: {frames} results written" for end in ("jsonl", "csv")]


def test_lost_results_are_reported_with_their_reason() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    source = MemorySource(20, live=True)
    with contextlib.ExitStack() as stack:
        sinks = SinkArguments().open(stack, [source], jsonl=Path("/dev/full"))
        frames = run_pipeline(BrightnessSession(), source, sinks).frames
    reason = "cannot write /dev/full: No space left on device; its last line is complete"
    assert sink_lines(sinks) == [f"/dev/full: 0 results written, {frames} lost ({reason})"]


@pytest.mark.parametrize(
    ("sinks", "analytics", "message"),
    [
        (
            SinkArguments(webhook=("http://h",)),
            AnalyticsOptions(track=True),
            "--webhook posts events, and nothing creates events",
        ),
        (
            SinkArguments(events=Path("p")),
            AnalyticsOptions(),
            "--events keeps images of events, and nothing creates events",
        ),
        (
            SinkArguments(events=Path("p"), options=SinkOptions(classes=("dgo",))),
            AnalyticsOptions(),
            "dgo",
        ),
    ],
)
def test_a_sink_without_input_is_refused(
    sinks: SinkArguments, analytics: AnalyticsOptions, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        sinks.check(analytics, ("person", "dog"))


@pytest.mark.parametrize(
    ("sinks", "analytics"),
    [
        (SinkArguments(Path("a.csv"), ("mqtt://h",)), AnalyticsOptions()),
        (SinkArguments(webhook=("http://h",), webhook_results=True), AnalyticsOptions()),
        (SinkArguments(webhook=("http://h",), events=Path("p")), AnalyticsOptions(lines=("0,0,1,1",))),
        (SinkArguments(webhook=("http://h",), events=Path("p")), AnalyticsOptions(zones=("0,0,1,1,0,1",))),
        (SinkArguments(events=Path("p"), options=SinkOptions(classes=("dog",))), AnalyticsOptions()),
    ],
)
def test_a_sink_with_possible_input_is_accepted(sinks: SinkArguments, analytics: AnalyticsOptions) -> None:
    sinks.check(analytics, ("person", "dog"))
    sinks.check(analytics)
