"""JSON lines."""

from __future__ import annotations

import errno
import json
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from edgevision.errors import SinkError
from edgevision.results import Classification, Detections
from edgevision.sinks.json_lines import JsonlSink
from tests.sinks.results import processed


def test_a_line_says_what_the_frame_holds(tmp_path: Path) -> None:
    with JsonlSink(tmp_path / "new" / "out.jsonl") as sink:
        sink.write(processed(7, source="straße.mp4", position_s=0.28))
        sink.write(processed(8, result=Detections.empty()))
    first, second = (json.loads(line) for line in (tmp_path / "new" / "out.jsonl").read_bytes().splitlines())
    assert first == {
        "source": "straße.mp4",
        "frame": 7,
        "captured_at": 1700000000.123457,
        "position_s": 0.28,
        "detections": [{"box": [1.25, 2.5, 30.12, 40.0], "score": 0.87654, "label": 1, "class": "bus"}],
        "age_ms": 33.333,
        "stages_ms": {"decode": 1.5, "prepare": 0.5, "inference": 30.0, "results": 0.1},
    }
    assert (second["frame"], second["position_s"], second["detections"]) == (8, None, [])


def test_a_classification_is_its_five_best_classes(tmp_path: Path) -> None:
    scores = np.array([0.05, 0.5, 0.1, 0.2, 0.1, 0.05], np.float32)
    with JsonlSink(tmp_path / "out.jsonl") as sink:
        sink.write(processed(result=Classification(scores, ("a", "b", "c", "d", "e", "f"))))
    record = json.loads((tmp_path / "out.jsonl").read_text())
    assert [best["class"] for best in record["classification"]] == ["b", "d", "c", "e", "a"]
    assert record["classification"][0] == {"label": 1, "class": "b", "score": 0.5}
    assert "detections" not in record


def test_a_reader_sees_each_line_at_once(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "out.jsonl")
    sink.write(processed(1))
    assert json.loads((tmp_path / "out.jsonl").read_text())["frame"] == 1
    sink.close()
    sink.close()


def test_a_full_device_is_an_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    sink = JsonlSink(Path("/dev/full"))
    with pytest.raises(SinkError, match="cannot write /dev/full: No space left on device"):
        sink.write(processed())


class FillingFile:
    """Takes `room` bytes, of the last write only a part, and is full then."""

    def __init__(self, file: FileIO, room: int) -> None:
        self.file = file
        self.room = room

    def write(self, data: bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = self.file.write(data[: self.room])
        self.room -= count
        return count

    def fileno(self) -> int:
        return self.file.fileno()

    def close(self) -> None:
        self.file.close()


def test_a_disk_that_runs_full_leaves_no_part_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonlSink(path)
    monkeypatch.setattr(sink, "_file", FillingFile(sink._file, 600))
    with pytest.raises(SinkError, match="No space left on device; its last line is a whole one"):
        for number in range(10):
            sink.write(processed(number))
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    assert [json.loads(line)["frame"] for line in lines] == [0, 1]
    assert lines[-1].endswith(b"\n")
