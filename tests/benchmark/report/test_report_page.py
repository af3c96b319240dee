"""Rows, tables and the page of a report."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgevision.benchmark.record_files import write_record
from edgevision.benchmark.records import AccuracyRecord
from edgevision.benchmark.report.page import page
from edgevision.benchmark.report.rows import Accuracy, ReportRow, front, read_accuracy, report_rows
from edgevision.benchmark.report.tables import HEADER, comma_separated, markdown
from edgevision.cli.commands.records.report import command
from edgevision.errors import UsageError
from tests.benchmark.examples import RECORD
from tests.benchmark.report.records import HOSTILE, SOAK, write_all


@pytest.fixture
def rows(tmp_path: Path) -> tuple[ReportRow, ...]:
    return report_rows([write_all(tmp_path / "records")], {})


class Elements(HTMLParser):
    """Collects elements with their attributes; `open` holds those without an end."""

    VOID = ("meta", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_kind_of_record_is_a_row(rows: tuple[ReportRow, ...]) -> None:
    assert [row.file for row in rows] == ["1.json", "2.json", "3.json", "4.json", "4.json"]
    assert [row.label for row in rows[1:]] == [
        "yolov5n onnxruntime",
        "m onnxruntime int8, camera",
        "m onnxruntime int8",
        "m onnxruntime float",
    ]
    assert [row.latency_of for row in rows[2:]] == [
        "age of a result",
        "inference in pairs",
        "inference in pairs",
    ]
    assert (rows[3].latencies.values_ns, rows[4].p50_ms) == ((5_000_000, 6_000_000), 8.0)
    assert (rows[2].frames_per_s, rows[3].frames_per_s) == (24.5, None)
    assert rows[2].notes == ("INVALID: min duration 60 s: 2.0 s",)
    assert rows[1].stages == (("inference", 50.5),)


def test_accuracies_belong_to_records(tmp_path: Path) -> None:
    folder = write_all(tmp_path / "records")
    found = report_rows([folder / "1.json", folder / "2.json"], {folder / "2.json": Accuracy("AP", 30.5)})
    assert [row.accuracy for row in found] == [None, Accuracy("AP", 30.5)]
    with pytest.raises(UsageError, match="is not among the records"):
        report_rows([folder / "1.json"], {folder / "2.json": Accuracy("AP", 30.5)})


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"images": 2, "ap": 30.5, "ap50": 48.0}, Accuracy("AP", 30.5)),
        ({"boxes": {"ap": 20.0}, "masks": {"ap": 18.0}}, Accuracy("AP", 20.0)),
        ({"miou": 65.1}, Accuracy("mIoU", 65.1)),
        ({"top1": 76, "top5": 90.0}, Accuracy("top-1", 76.0)),
        ({"psnr": 37.44, "ssim": 0.96}, Accuracy("PSNR", 37.44)),
    ],
)
def test_records_of_eval(tmp_path: Path, record: dict[str, object], expected: Accuracy) -> None:
    (tmp_path / "eval.json").write_text(json.dumps(record))
    assert read_accuracy(tmp_path / "eval.json") == expected


@pytest.mark.parametrize("text", ['{"boxes": 3}', "[]", '{"ap": true}', '{"ap": NaN}', "no json"])
def test_other_files_are_no_records_of_eval(tmp_path: Path, text: str) -> None:
    (tmp_path / "eval.json").write_text(text)
    with pytest.raises(
        UsageError, match="has none of ap, miou, top1, psnr, agreement;|cannot read accuracy record"
    ):
        read_accuracy(tmp_path / "eval.json")


def test_the_front_has_no_slower_and_less_accurate_run(rows: tuple[ReportRow, ...]) -> None:
    def at(ms: float, points: float, metric: str = "AP", batch: int = 1) -> ReportRow:
        return replace(rows[1], p50_ms=ms, batch=batch, accuracy=Accuracy(metric, points))

    assert front(rows) == ()
    slow, fast, dominated, same_time = at(30, 40), at(10, 20), at(20, 20), at(10, 19)
    batched, other = at(60, 30, batch=4), at(1, 99, "top-1")
    chosen = front([slow, fast, dominated, same_time, batched, other])
    assert [row for row, _ in chosen] == [fast, batched, slow]


def test_a_soak_is_a_row_and_is_drawn_over_time(tmp_path: Path) -> None:
    write_record(tmp_path / "soak.json", SOAK)
    (row,) = report_rows([tmp_path], {})
    assert row.label == "m onnxruntime int8, soak of 2 min"
    assert (row.frames_per_s, row.memory_mib) == (19.5, 202.0)
    assert "| 19.5 | 0.250 (module input) |  |" in markdown([row])
    html = page([row], "Soak")
    assert "<h2>Over time</h2>" in html
    for text in (
        "frames/s: 20 at first, 19 at last",
        "MiB: 200 at first, 202 at last",
        "°C: 50 at first, 61 at last",
    ):
        assert text in html
    assert len([tag for tag, found in Elements(html).found if found.get("class") == "course"]) == 3
    short = replace(row, windows=row.windows[:1])
    assert "Over time" not in page([short], "Soak"), "one window is no course"


def test_a_record_with_accuracy_needs_no_other_file(tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", replace(RECORD, accuracy=AccuracyRecord("AP", 24.5, 220)))
    (row,) = report_rows([tmp_path / "a.json"], {})
    assert row.accuracy == Accuracy("AP", 24.5)
    assert [found for found, _ in front([row])] == [row]
    (given,) = report_rows([tmp_path / "a.json"], {tmp_path / "a.json": Accuracy("AP", 24.9)})
    assert given.accuracy == Accuracy("AP", 24.9), "--accuracy takes precedence"


def test_markdown(rows: tuple[ReportRow, ...]) -> None:
    lines = markdown(rows).splitlines()
    assert lines[0] == f"| {' | '.join(HEADER)} |"
    assert lines[1].count("|") == len(HEADER) + 1
    assert lines[2].startswith("| &lt;script>alert(1)&lt;/script>\\| onnxruntime | 50.00 |")
    assert (
        lines[3]
        == "| yolov5n onnxruntime | 20.00 | 20.00 | 20.00 | 29.2 |  |  | inference alone | 1 | 250 | onnxruntime 1.2 |"
    )
    assert lines[8].startswith(
        "Device: NVIDIA Jetson Orin Nano, Cortex, 6 cores, 7619 MiB, Ubuntu 22.04, L4T 36.4.3"
    )
    assert lines[-1] == "- m onnxruntime int8, camera (3.json): INVALID: min duration 60 s: 2.0 s"


def test_csv_holds_everything_and_executes_nothing(rows: tuple[ReportRow, ...]) -> None:
    formula = replace(rows[0], label="=1+1")
    read = list(csv.DictReader(io.StringIO(comma_separated([formula, *rows]))))
    assert [row["run"] for row in read[:2]] == ["'=1+1", rows[0].label]
    assert read[3]["notes"] == "INVALID: min duration 60 s: 2.0 s"
    assert (read[2]["p50 ms"], read[2]["file"], read[2]["frames/s"]) == ("20.00", "2.json", "29.2")


def test_the_page_is_whole_and_loads_nothing(rows: tuple[ReportRow, ...]) -> None:
    measured = [replace(row, accuracy=Accuracy("AP", 20.0 + n)) for n, row in enumerate(rows)]
    text = page(measured, f"Title {HOSTILE}")
    elements = Elements(text)
    assert elements.open == []
    assert {tag for tag, _ in elements.found} & {"script", "img", "iframe", "object", "embed"} == set()
    addresses = [(attributes.get("src"), attributes.get("href")) for _, attributes in elements.found]
    loaded = [address for pair in addresses for address in pair if address is not None]
    assert loaded == ["data:,"]
    assert "url(" not in text
    assert "@import" not in text
    assert HOSTILE not in text
    for part in (
        "Results",
        "Accuracy and latency",
        "Latency distributions",
        "Stages",
        "Do not compare",
        "Devices",
    ):
        assert f"<h2>{part}</h2>" in text
    assert len(re.findall(r'class="distribution"', text)) == 5
    stages = [attributes["data-stage"] for _, attributes in elements.found if "data-stage" in attributes]
    assert len(stages) == 5 + 2, "five in the legend, one stage in each of two records"
    assert "&lt;script&gt;alert(1)&lt;/script&gt; moved" in text


def test_parts_without_data_are_left_out(rows: tuple[ReportRow, ...]) -> None:
    text = page([rows[3]], "One")
    assert "<p>1 run</p>" in text
    for part in ("Accuracy and latency", "Stages", "Do not compare"):
        assert part not in text


def test_one_value_has_a_chart(rows: tuple[ReportRow, ...]) -> None:
    text = page([replace(rows[1], accuracy=Accuracy("AP", 30.0))], "Equal samples")
    assert "nan" not in text
    assert 'style="left:50.00%;bottom:50.00%"' in text


def test_the_command_writes_what_is_asked_for(tmp_path: Path) -> None:
    folder = write_all(tmp_path / "records")
    shown = CliRunner().invoke(command, [str(folder)])
    assert shown.exit_code == 0, shown.exception
    assert shown.output.startswith("| run | p50 ms |")
    (tmp_path / "eval.json").write_text('{"ap": 30.5}')
    files = {kind: tmp_path / "new" / f"report.{kind}" for kind in ("html", "csv", "markdown")}
    options = [text for kind, file in files.items() for text in (f"--{kind}", str(file))]
    pair = f"{folder / '2.json'}={tmp_path / 'eval.json'}"
    result = CliRunner().invoke(command, [str(folder), *options, "--accuracy", pair, "--title", "Ours"])
    assert result.exit_code == 0, result.exception
    assert "<h1>Ours</h1>" in files["html"].read_text()
    assert "AP 30.5" in files["csv"].read_text()
    assert "AP 30.5" in files["markdown"].read_text()
    with pytest.raises(UsageError, match="expected RECORD=EVAL"):
        raise CliRunner().invoke(command, [str(folder), "--accuracy", "x"]).exception or AssertionError
