"""JSON lines."""

from __future__ import annotations

import errno
import json
import os
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.contract.results import Classification, Detections
from edgevision.errors import SinkError
from edgevision.sinks.files.json_lines import JsonlSink
from tests.sinks.results import processed


def test_a_line_has_the_detections_of_the_frame(tmp_path: Path) -> None:
    with JsonlSink(tmp_path / "new" / "out.jsonl") as sink:
        sink.write(processed(7, source="straße.mp4", position_s=0.28))
        sink.write(processed(8, result=Detections.empty()))
    first, second = (json.loads(line) for line in (tmp_path / "new" / "out.jsonl").read_bytes().splitlines())
    assert first == {
        "source": "straße.mp4",
        "frame": 7,
        "captured_at": 1700000000.123457,
        "clock": "arrival",
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
    with JsonlSink(Path("/dev/full")) as sink:
        for _ in range(2):
            with pytest.raises(SinkError, match="cannot write /dev/full: No space left on device"):
                sink.write(processed())


class FullDisk:
    """Stands before a file: after `room` more bytes, of the last write only a part, there is no space left."""

    def __init__(self, file: FileIO, room: int) -> None:
        self.file = file
        self.room = room

    def write(self, data: bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = self.file.write(data[: self.room])
        self.room -= count
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("append", [False, True])
def test_a_full_disk_leaves_no_partial_line_and_writing_resumes(tmp_path: Path, append: bool) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonlSink(path, append=append)
    disk = FullDisk(sink._file._file, 600)
    sink._file._file = disk  # type: ignore[assignment]
    with pytest.raises(SinkError, match="No space left on device; its last line is complete"):
        for number in range(10):
            sink.write(processed(number))
    assert [json.loads(line)["frame"] for line in path.read_bytes().splitlines()] == [0, 1]
    assert path.read_bytes().endswith(b"\n")
    disk.room = 10**6
    sink.write(processed(9))
    sink.close()
    assert [json.loads(line)["frame"] for line in path.read_bytes().splitlines()] == [0, 1, 9]
    assert sink.health.written == 3


def test_a_file_is_truncated_or_continued(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for append, frames in ((False, [1]), (True, [1, 1]), (False, [1])):
        with JsonlSink(path, append=append) as sink:
            sink.write(processed(1))
        assert [json.loads(line)["frame"] for line in path.read_bytes().splitlines()] == frames


def test_an_incomplete_last_line_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"frame":1}\n{"fra')
    with JsonlSink(path, append=True) as sink:
        sink.write(processed(2))
    assert [json.loads(line)["frame"] for line in path.read_bytes().splitlines()] == [1, 2]
    assert "removed an incomplete last line of 5 bytes" in caplog.text


@pytest.mark.parametrize("remove", [False, True])
def test_a_file_that_is_moved_away_is_followed_by_a_new_one(tmp_path: Path, remove: bool) -> None:
    path, moved = tmp_path / "out.jsonl", tmp_path / "out.jsonl.1"
    with JsonlSink(path, append=True) as sink:
        sink.write(processed(1))
        if remove:
            path.unlink()
        else:
            path.rename(moved)
        sink.write(processed(2))
    assert remove or [json.loads(line)["frame"] for line in moved.read_bytes().splitlines()] == [1]
    assert [json.loads(line)["frame"] for line in path.read_bytes().splitlines()] == [2]


def test_a_pipe_that_is_gone_is_an_error_each_time(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with JsonlSink(pipe, append=True) as sink:
        sink.write(processed(1))
        assert json.loads(os.read(reader, 4096))["frame"] == 1
        os.close(reader)
        for _ in range(2):
            with pytest.raises(SinkError, match="Broken pipe"):
                sink.write(processed(2))
