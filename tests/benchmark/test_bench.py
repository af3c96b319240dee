"""A benchmark of a session with known times."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from edgevision.benchmark import bench as bench_module
from edgevision.benchmark.bench import BenchOptions, RepeatedSource, Subject, bench, prepared_batches
from edgevision.benchmark.record_files import read_record, write_record
from edgevision.benchmark.record_text import record_lines
from edgevision.benchmark.records import BenchRecord
from edgevision.benchmark.timing import MeasureSettings
from edgevision.contract.results import Outputs
from edgevision.contract.session import Frames, ReplaySession, SessionOptions
from edgevision.contract.spec import BatchRange, FrameInput, ModelSpec, NmsSpec, Provenance, detect_outputs
from edgevision.device.power.reading import power_state
from edgevision.errors import UsageError
from edgevision.sinks.files.video import VideoSink
from edgevision.sinks.opening import write_clip
from edgevision.sources.opening import open_source
from tests.device.power.trees import ORIN_NANO_36, grow


class SlowSession(ReplaySession):
    """Takes 10 ms a call."""

    def __init__(self, batch: int = 1) -> None:
        spec = ModelSpec(
            "slow",
            "detect",
            FrameInput((64, 64), batch=BatchRange(batch, batch, batch)),
            detect_outputs(1),
            ("a",),
            Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00"),
            NmsSpec(candidates=1, max_detections=1),
        )
        answer = (
            np.array([[[9, 9, 40, 40]]], np.float32),
            np.array([[0.9]], np.float32),
            np.zeros((1, 1), np.int32),
        )
        super().__init__(spec, [answer])

    def _infer(self, frames: Frames) -> Outputs:
        time.sleep(0.01)
        return super()._infer(frames)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    write_clip(path, [np.full((48, 64, 3), 20 * n, np.uint8) for n in range(8)], (64, 48), fps=25.0)
    return path


def run_bench(clip: Path, session: SlowSession) -> tuple[BenchRecord, list[str]]:
    subject = Subject(session, "ab" * 32, SessionOptions(threads=2), lambda: open_source(clip))
    options = BenchOptions(MeasureSettings(min_s=0.1, min_count=12, warmup_s=0.0, warmup_count=1), rounds=3)
    steps: list[str] = []
    output = clip.parent / "thrown-away.mp4"
    record = bench(
        subject, options, lambda source: VideoSink(output, source.size_wh, source.fps), steps.append
    )
    return record, steps


def test_every_figure_is_there_and_fits_the_others(clip: Path, tmp_path: Path) -> None:
    record, steps = run_bench(clip, SlowSession())
    assert [stage.name for stage in record.stages] == ["decode", "prepare", "inference", "results", "output"]
    assert len({stage.count for stage in record.stages}) == 1
    assert record.stages[0].count >= 12
    assert record.stages[2].p50_ms >= 10
    assert record.inference_alone.count >= 12
    assert 0 < record.inference_frames_per_s <= 100
    assert record.end_to_end_ratio == sorted(r.ratio for r in record.rounds)[1]
    # Within 5 % where nothing else runs; a stage left out, or counted twice, would be far from it.
    assert 0.8 < record.stages_share < 1.02
    assert 0 < record.resident_mib <= record.peak_resident_mib
    assert (record.model, record.graph_sha256, record.engine.engine) == ("slow", "ab" * 32, "replay")
    assert (record.settings.source, record.settings.frame_wh) == ("clip.mp4", (64, 48))
    assert (record.settings.threads, record.settings.batch, record.settings.rounds) == (2, 1, 3)
    assert len(steps) == 4
    write_record(tmp_path / "bench.json", record)
    assert read_record(tmp_path / "bench.json") == record
    assert record_lines(record)


def test_the_device_clock_is_recorded_for_each_call(clip: Path) -> None:
    session = SlowSession()
    session.device_ms = 2.5
    record, _ = run_bench(clip, session)
    assert record.device_time is not None
    assert record.device_time.count == record.inference_alone.count
    assert record.device_time.p50_ms == 2.5


def test_slow_clocks_and_over_current_are_part_of_the_record(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = grow(tmp_path / "board", ORIN_NANO_36)
    monkeypatch.setattr(bench_module, "power_state", lambda: power_state(root))

    class Hungry(SlowSession):
        def _infer(self, frames: Frames) -> Outputs:
            grow(root, {"sys/class/hwmon/hwmon3/oc3_event_cnt": "27393\n"})
            return super()._infer(frames)

    record, steps = run_bench(clip, Hungry())
    assert record.warnings[0].startswith("power mode 15W (0) holds gpu 17000000.gpu at 612 of 1020 MHz")
    assert steps[0] == f"WARNING: {record.warnings[0]}"
    assert "instantaneous over-current (OC3): 3 times" in record.unstable
    assert record.power is not None
    assert [clock.limit_mhz for clock in record.power.clocks] == [1497.6, 612.0]
    lines = record_lines(record)
    assert f"WARNING: {record.warnings[0]}" in lines
    assert "UNSTABLE: instantaneous over-current (OC3): 3 times" in lines
    write_record(tmp_path / "bench.json", record)
    assert read_record(tmp_path / "bench.json") == record


def test_a_batch_counts_its_frames(clip: Path) -> None:
    record, _ = run_bench(clip, SlowSession(batch=4))
    assert record.settings.batch == 4
    assert 0 < record.inference_frames_per_s <= 400
    assert record.inference_alone.p50_ms >= 10
    assert 2.5 <= record.stages[2].p50_ms < 10
    # Within 5 % where nothing else runs; a stage left out, or counted twice, would be far from it.
    assert 0.8 < record.stages_share < 1.02


def test_frames_are_repeated_as_often_as_it_takes(clip: Path) -> None:
    with RepeatedSource(lambda: open_source(clip)) as source:
        frames = [source.read() for _ in range(20)]
    levels = [round(float(frame.image_bgr.mean()) / 20) for frame in frames if frame is not None]
    assert levels == [n % 8 for n in range(20)]
    assert source.frame_count is None


def test_inference_alone_uses_different_frames(clip: Path) -> None:
    batches, frame_wh = prepared_batches(
        Subject(SlowSession(4), None, SessionOptions(), lambda: open_source(clip))
    )
    assert frame_wh == (64, 48)
    assert {batch.shape for batch in batches} == {(4, 64, 64, 3)}
    assert [round(float(row[32, 32, 0]) / 20) for batch in batches[:3] for row in batch] == [
        n % 8 for n in range(12)
    ]


def test_a_camera_is_refused(clip: Path) -> None:
    live = open_source(clip)
    live.live = True
    with pytest.raises(UsageError, match="would measure its frame rate; use a video or images instead"):
        RepeatedSource(lambda: live)
