"""Event images: selection, names and limits."""

from __future__ import annotations

import errno
import json
import os
import time
from datetime import datetime, timezone
from pathlib import Path

import cv2
import pytest

from edgevision.analytics.counting import AnalyticsEvent
from edgevision.errors import SinkError, UsageError
from edgevision.sinks import background
from edgevision.sinks.addresses import SinkOptions, open_sink
from edgevision.sinks.files.event_folder import EventFolder, Retention
from edgevision.sinks.files.event_images import EventImageOptions, EventImageSink
from edgevision.storage import atomic
from tests.sinks.results import CROSSED, eventful, fresh, wait_until

NOW = 1_700_000_000.123456
VANISHED = AnalyticsEvent("vanished", "pool", 9, 1, 4.5, dwell_s=2.25)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def frames_of(folder: Path) -> list[int]:
    return [json.loads(path.read_text())["frame"] for path in sorted(folder.glob("*.json"))]


def test_an_image_and_its_record(tmp_path: Path) -> None:
    done = eventful(12, CROSSED, VANISHED, source="back yard/2")
    with EventImageSink(tmp_path / "new") as sink:
        sink.write(done)
        sink.write(fresh(13))
        sink.write(eventful(14, VANISHED))
        assert sink.health.written == 1
    stem = "20231114T221320.123456Z_back-yard-2_crossed_door_id7_12"
    assert names(tmp_path / "new") == [f"{stem}.jpg", f"{stem}.json"]
    image = cv2.imread(str(tmp_path / "new" / f"{stem}.jpg"))
    assert image is not None
    assert image.shape == (48, 64, 3)
    assert image[:, 11:30].std() > 10, "the box is drawn"
    assert done.frame.image_bgr.std() == 0, "and not into the frame of others"
    message = json.loads((tmp_path / "new" / f"{stem}.json").read_text())
    assert (message["writer"], message["picture"], message["source"]) == (
        "edgevision events 1",
        f"{stem}.jpg",
        "back yard/2",
    )
    assert [event["event"] for event in message["events"]] == ["crossed", "vanished"]
    assert message["detections"][0]["id"] == 7
    assert len({event["event_id"] for event in message["events"]}) == 2


def test_classes_are_kept_too_with_a_gap_for_each_camera(tmp_path: Path) -> None:
    options = EventImageOptions(classes=("bus", "cat"), gap_s=10)
    with EventImageSink(tmp_path, options) as sink:
        began_ns = time.perf_counter_ns()
        for second, source in ((0, "a"), (1, "a"), (2, "b"), (9.9, "a"), (10, "a"), (11, "b"), (12, "b")):
            done = fresh(int(second), source=source)
            object.__setattr__(done.frame, "captured_ns", began_ns + int(second * 1e9))
            object.__setattr__(done.frame, "captured_at", NOW + second)
            sink.write(done)
    assert [(name[23:]) for name in names(tmp_path) if name.endswith(".jpg")] == [
        "_a_seen_0.jpg",
        "_b_seen_2.jpg",
        "_a_seen_10.jpg",
        "_b_seen_12.jpg",
    ]


def test_the_oldest_go_by_number(tmp_path: Path) -> None:
    folder = EventFolder(tmp_path, Retention(pictures=3), lambda: NOW)
    for number in range(5):
        folder.add(NOW - 10 + number, f"cam_{number}", b"jpeg", {"frame": number})
    assert frames_of(tmp_path) == [2, 3, 4]
    assert len(names(tmp_path)) == 6


def test_the_oldest_go_by_size_and_the_newest_always_stays(tmp_path: Path) -> None:
    folder = EventFolder(tmp_path, Retention(max_bytes=2500), lambda: NOW)
    for number in range(5):
        folder.add(NOW - 10 + number, f"cam_{number}", bytes(1000), {"frame": number})
    assert frames_of(tmp_path) == [3, 4]
    folder.add(NOW, "cam_5", bytes(9999), {"frame": 5})
    assert frames_of(tmp_path) == [5]


def test_the_oldest_go_by_age_without_a_new_one_too(tmp_path: Path) -> None:
    now = NOW
    folder = EventFolder(tmp_path, Retention(max_age_s=100), lambda: now)
    for number in range(3):
        now = NOW + 50 * number
        folder.add(
            number, f"cam_{number}", b"jpeg", {"frame": number}
        )  # by a camera's clock that was never set
    now = NOW + 151
    folder.enforce()
    assert frames_of(tmp_path) == [2]
    now = NOW + 1000
    folder.enforce()
    assert names(tmp_path) == []


def test_the_age_limit_holds_after_a_restart(tmp_path: Path) -> None:
    folder = EventFolder(tmp_path, Retention())
    for number in range(2):
        folder.add(NOW + number, f"cam_{number}", b"jpeg", {"frame": number})
    os.utime(tmp_path / "20231114T221320.123456Z_cam_0.json", (1, time.time() - 2000))
    EventFolder(tmp_path, Retention(max_age_s=1000))
    assert frames_of(tmp_path) == [1]


def test_a_later_run_counts_what_was_there_and_deletes_nothing_of_others(tmp_path: Path) -> None:
    first = EventFolder(tmp_path, Retention(), lambda: NOW)
    for number in range(4):
        first.add(NOW + number, f"cam_{number}", b"jpeg", {"frame": number})
    strangers = {
        "holiday.jpg": b"mine",
        "20200101T000000.000000Z_mine.jpg": b"looks like ours",
        "20200101T000000.000000Z_mine2.json": b'{"writer":"me","picture":"20200101T000000.000000Z_mine2.jpg"}',
        "20200101T000000.000000Z_mine3.json": b"[]",
        "20200101T000000.000000Z_mine4.json": b'{"writer":"edgevision events 1","picture":"../other.jpg"}',
    }
    for name, data in strangers.items():
        (tmp_path / name).write_bytes(data)
    killed = tmp_path / ".20231114T221320.123456Z_cam_9.abcd1234.partial.jpg"
    killed.write_bytes(b"half")
    (tmp_path / "20231114T221320.500000Z_left.json").write_text(
        json.dumps(
            {"writer": "edgevision events 1", "picture": "20231114T221320.500000Z_left.jpg", "frame": -1}
        )
    )
    again = EventFolder(tmp_path, Retention(pictures=2), lambda: NOW)
    assert len(again) == 2
    assert not killed.exists()
    for name, data in strangers.items():
        assert (tmp_path / name).read_bytes() == data
        (tmp_path / name).unlink()
    assert frames_of(tmp_path) == [2, 3]


class SmallDisk:
    """Stands before `atomic.write_file`: the folder may hold so many bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, room: int) -> None:
        self.room = room
        self.folder = folder
        self.write = atomic.write_file
        monkeypatch.setattr(atomic, "write_file", self.write_file)

    def write_file(self, path: Path, data: bytes) -> None:
        if sum(each.stat().st_size for each in self.folder.iterdir()) + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.write(path, data)


def test_on_a_full_disk_the_oldest_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SmallDisk(monkeypatch, tmp_path, 5000)
    folder = EventFolder(tmp_path, Retention(), lambda: NOW)
    for number in range(10):
        folder.add(NOW + number, f"cam_{number}", bytes(1000), {"frame": number})
    assert frames_of(tmp_path) == [6, 7, 8, 9]
    assert all(path.with_suffix(".jpg").stat().st_size == 1000 for path in tmp_path.glob("*.json"))


def test_a_full_disk_deletes_a_few_old_images_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SmallDisk(monkeypatch, tmp_path, 10**6)
    folder = EventFolder(tmp_path, Retention(), lambda: NOW)
    for number in range(20):
        folder.add(NOW + number, f"cam_{number}", bytes(1000), {"frame": number})
    disk.room = 0
    with pytest.raises(SinkError, match="no space left on device, even after deleting 8 older images"):
        folder.add(NOW + 99, "cam_99", bytes(1000), {"frame": 99})
    assert frames_of(tmp_path) == list(range(8, 20))
    assert len(names(tmp_path)) == 24


def test_a_live_sink_draws_in_its_thread_and_recovers_from_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SmallDisk(monkeypatch, tmp_path, 0)
    sink = open_sink(f"events:{tmp_path}")
    sink.write(eventful(1, captured_at=time.time()))
    sink.write(fresh(2))
    assert wait_until(lambda: sink.health.state == "failing")
    assert sink.health.waiting == 1
    disk.room = 10**6
    assert wait_until(lambda: sink.health.written == 1)
    sink.close()
    assert frames_of(tmp_path) == [1]


def test_the_address_sets_the_limits(tmp_path: Path) -> None:
    address = f"events:{tmp_path}?keep=2&max_mib=1.5&max_days=0.5&classes=bus,cat&gap_s=3"
    with open_sink(address, SinkOptions(live=False)) as sink:
        assert isinstance(sink, EventImageSink)
        assert sink._options == EventImageOptions(Retention(2, 3 * 2**19, 43200.0), ("bus", "cat"), 3.0)
    for wrong, message in (
        ("keep=many", "keep=many of events: is not a number"),
        ("kept=1", "has no option 'kept'; expected keep, max_mib"),
        ("keep=0", "limit pictures of event images is 0; expected more than 0"),
        ("gap_s=-1", "gap_s is -1.0"),
    ):
        with pytest.raises(UsageError, match=message):
            open_sink(f"events:{tmp_path}?{wrong}")


def test_images_are_named_in_utc(tmp_path: Path) -> None:
    path = EventFolder(tmp_path, Retention()).add(time.time(), "cam_1", b"jpeg", {})
    assert path.name.startswith(datetime.now(timezone.utc).strftime("%Y"))
    assert path.exists()


def test_age_is_looked_at_while_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "TIDY_EVERY_S", 0.02)
    sink = open_sink(f"events:{tmp_path}?max_days=1")
    sink.write(eventful(1))
    assert wait_until(lambda: sink.health.written == 1)
    assert len(names(tmp_path)) == 2
    inner = sink._inner  # type: ignore[attr-defined]  # a background sink
    inner._folder._clock = lambda: time.time() + 90_000
    assert wait_until(lambda: names(tmp_path) == [])
    sink.close()
