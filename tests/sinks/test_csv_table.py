"""Tables for spreadsheets."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from edgevision.analytics.counting import AnalyticsEvent
from edgevision.contract.results import Classification, Detections, Segmentation
from edgevision.errors import SinkError
from edgevision.sinks.files.csv_table import COLUMNS, EVENT_COLUMNS, CsvSink
from edgevision.sinks.files.json_lines import JsonlSink
from tests.sinks.results import CROSSED, eventful, processed


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_has_class_box_and_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.csv"
    with CsvSink(path) as sink:
        sink.write(processed(7, source='a "street", wet.mp4', position_s=0.28))
        sink.write(processed(8, result=Detections.empty()))
    assert path.read_bytes().splitlines()[0].decode() == ",".join(COLUMNS)
    (row,) = rows(path)
    assert row == {
        "source": 'a "street", wet.mp4',
        "frame": "7",
        "time_utc": "2023-11-14 22:13:20.123",
        "captured_at": "1700000000.123457",
        "clock": "arrival",
        "position_s": "0.28",
        "class": "bus",
        "label": "1",
        "score": "0.87654",
        "share": "",
        "x1": "1.25",
        "y1": "2.5",
        "x2": "30.12",
        "y2": "40.0",
        "id": "",
        "age_ms": "33.333",
    }
    assert [entry.name for entry in path.parent.iterdir()] == ["out.csv"]
    assert sink.health.written == 2


def test_events_have_a_table_of_their_own(tmp_path: Path) -> None:
    left = AnalyticsEvent("left", "pool", 9, 1, 4.5, dwell_s=2.25)
    with CsvSink(tmp_path / "out.csv") as sink:
        sink.write(processed(1))
        assert not (tmp_path / "out.events.csv").exists()
        sink.write(eventful(2, CROSSED, left))
    assert [(row["frame"], row["id"]) for row in rows(tmp_path / "out.csv")] == [("1", ""), ("2", "7")]
    found = rows(tmp_path / "out.events.csv")
    assert list(found[0]) == list(EVENT_COLUMNS)
    kept = ("source", "event", "place", "id", "class", "direction", "dwell_s")
    assert [tuple(row[name] for name in kept) for row in found] == [
        ("yard", "crossed", "door", "7", "person", "in", ""),
        ("yard", "left", "pool", "9", "bus", "", "2.25"),
    ]
    assert [float(row["at"]) for row in found] == pytest.approx(
        [1_700_000_000.123456 - 0.5, 1_699_999_999.123], abs=1e-3
    )


def test_classes_are_rows(tmp_path: Path) -> None:
    scores = np.array([0.05, 0.5, 0.1, 0.2, 0.1, 0.05], np.float32)
    mask = np.array([[1, 1], [1, 0]], np.uint8)
    with CsvSink(tmp_path / "out.csv") as sink:
        sink.write(processed(0, result=Classification(scores, ("a", "b", "c", "d", "e", "f"))))
        sink.write(processed(1, result=Segmentation(mask, ("road", "sky"))))
    found = [(row["frame"], row["class"], row["score"], row["share"]) for row in rows(tmp_path / "out.csv")]
    assert found == [
        ("0", "b", "0.5", ""),
        ("0", "d", "0.2", ""),
        ("0", "c", "0.1", ""),
        ("0", "e", "0.1", ""),
        ("0", "a", "0.05", ""),
        ("1", "sky", "", "0.75"),
        ("1", "road", "", "0.25"),
    ]


def test_a_table_is_continued_with_one_header(tmp_path: Path) -> None:
    for _ in range(2):
        with CsvSink(tmp_path / "out.csv", append=True) as sink:
            sink.write(eventful())
    assert len(rows(tmp_path / "out.csv")) == len(rows(tmp_path / "out.events.csv")) == 2
    text = (tmp_path / "out.csv").read_text()
    assert text.count("time_utc") == 1


def test_a_table_of_others_is_not_continued(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("name,age\nA,3\n")
    with pytest.raises(SinkError, match=r"starts with 'name,age', expected 'source,frame,.*use another name"):
        CsvSink(tmp_path / "out.csv", append=True)
    assert (tmp_path / "out.csv").read_text() == "name,age\nA,3\n"


def test_rows_are_not_written_twice_when_their_events_have_to_wait(tmp_path: Path) -> None:
    done = eventful()
    (tmp_path / "out.events.csv").mkdir()
    with CsvSink(tmp_path / "out.csv", append=True) as sink:
        for _ in range(2):
            with pytest.raises(SinkError, match=r"out\.events\.csv: Is a directory"):
                sink.write(done)
        (tmp_path / "out.events.csv").rmdir()
        sink.write(done)
    assert len(rows(tmp_path / "out.csv")) == len(rows(tmp_path / "out.events.csv")) == 1


def test_queued_results_have_no_image(tmp_path: Path) -> None:
    with CsvSink(tmp_path / "a.csv") as table, JsonlSink(tmp_path / "a.jsonl") as lines:
        for sink in (table, lines):
            kept = sink.keep(processed())
            assert kept is not None
            assert kept.frame.image_bgr.strides == (0, 0, 0)
            assert kept.frame.size_wh == (64, 48)
