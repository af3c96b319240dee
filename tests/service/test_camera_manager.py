"""Adding and removing cameras on one engine, and replacing the engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevision.analytics.options import AnalyticsOptions
from edgevision.contract.results import Outputs
from edgevision.contract.session import Frames, Session
from edgevision.contract.thresholds import ClassThresholds
from edgevision.errors import EngineError, UsageError
from edgevision.pipeline.options import PipelineOptions
from edgevision.service.camera_manager import CameraManager, CameraPlan, Report
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.opening import write_clip
from tests.doubles import BrightnessSession, ListSink

OPTIONS = PipelineOptions(batch=1)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    threads = set(threading.enumerate())
    yield
    wait_for(lambda: set(threading.enumerate()) <= threads)


def wait_for(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline_s = time.perf_counter() + timeout_s
    while not condition():
        assert time.perf_counter() < deadline_s, "it did not happen in time"
        time.sleep(0.005)


def demo(name: str, address: str = "demo:64x64@50") -> CameraPlan:
    return CameraPlan(name, address, threshold=0.0)


def brightness(_: Report) -> Session:
    return BrightnessSession()


class Running:
    """A camera manager that is closed in the end, and how many results each camera had."""

    def __init__(self, camera_manager: CameraManager) -> None:
        self.camera_manager = camera_manager
        self.counts: dict[str, int] = {}
        self.end = camera_manager.subscribe(self._count)

    def _count(self, name: str, _: FrameResult) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def more(self, name: str) -> bool:
        """True once another two results of that camera have come."""
        goal = self.counts.get(name, 0) + 2
        wait_for(lambda: self.counts.get(name, 0) >= goal)
        return True

    def state(self, name: str) -> str:
        return next(str(camera.state) for camera in self.camera_manager.cameras if camera.name == name)

    def __enter__(self) -> Running:
        self.camera_manager.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.camera_manager.close()


def test_cameras_run_until_the_manager_is_closed() -> None:
    sink = ListSink()
    plans = [replace(demo("a"), sinks=("list",)), demo("b")]
    with Running(CameraManager(brightness, plans, {"list": sink}, OPTIONS)) as running:
        assert running.more("a")
        assert running.more("b")
        assert running.camera_manager.readiness.ready
        assert [(camera.name, camera.state) for camera in running.camera_manager.cameras] == [
            ("a", "running"),
            ("b", "running"),
        ]
        assert running.camera_manager.cameras[0].stats.frames > 0
        assert running.camera_manager.expected_inference_s >= 0
    assert {processed.frame.source for processed in sink.seen} == {"a"}
    assert sink.close_count == 1
    assert running.camera_manager.readiness.phase == "closed"
    running.camera_manager.close()
    assert sink.close_count == 1


def test_a_camera_is_stopped_and_started() -> None:
    with Running(CameraManager(brightness, [demo("a"), demo("b")], options=OPTIONS)) as running:
        assert running.more("a")
        running.camera_manager.stop_camera("a")
        assert running.state("a") == "stopped"
        seen = running.counts["a"]
        assert running.more("b")
        assert running.more("b")
        assert running.counts["a"] <= seen + 1
        running.camera_manager.start_camera("a")
        running.camera_manager.start_camera("b")  # it runs: nothing happens
        assert running.more("a")
        assert running.state("a") == "running"


def test_a_threshold_changes_the_detections() -> None:
    found: dict[str, int] = {}

    def look(name: str, processed: FrameResult) -> None:
        found[name] = len(processed.result)  # type: ignore[arg-type]  # detections

    with Running(CameraManager(brightness, [demo("a"), demo("b")], options=OPTIONS)) as running:
        running.camera_manager.subscribe(look)
        wait_for(lambda: found.get("a") == 1 and found.get("b") == 1)
        running.camera_manager.set_threshold(1.0, "a")
        wait_for(lambda: found["a"] == 0)
        assert running.more("b")
        assert found["b"] == 1
        running.camera_manager.set_threshold(1.0)
        wait_for(lambda: found["b"] == 0)
        assert [camera.threshold for camera in running.camera_manager.cameras] == [1.0, 1.0]
        running.camera_manager.stop_camera("a")
        running.camera_manager.start_camera("a")
        assert running.more("a")
        assert found["a"] == 0  # it outlives a stop
        running.camera_manager.set_threshold(None, "a")
        wait_for(lambda: found["a"] == 1)
        own = BrightnessSession().threshold
        assert [camera.threshold for camera in running.camera_manager.cameras] == [own, 1.0]
        with pytest.raises(UsageError, match="0 to 1"):
            running.camera_manager.set_threshold(1.5)
        with pytest.raises(UsageError, match="no camera 'c'; expected one of: a, b"):
            running.camera_manager.set_threshold(0.5, "c")


def test_a_camera_that_cannot_be_opened_does_not_affect_the_others(tmp_path: Path) -> None:
    plans = [demo("a"), demo("bad", str(tmp_path / "nothing.mp4"))]
    with Running(CameraManager(brightness, plans, options=OPTIONS)) as running:
        assert running.more("a")
        bad = running.camera_manager.cameras[1]
        assert bad.state == "failed"
        assert "no such file" in bad.detail
        write_clip(tmp_path / "nothing.mp4", [np.full((64, 64, 3), 200, np.uint8)] * 3, (64, 64), fps=10)
        running.camera_manager.start_camera("bad")
        wait_for(lambda: running.state("bad") == "ended")
        wait_for(lambda: running.counts.get("bad") == 3)


def test_a_camera_whose_plan_cannot_be_kept_has_failed() -> None:
    plans = [demo("a"), replace(demo("b"), analytics=AnalyticsOptions(only=("unicorn",)))]
    with Running(CameraManager(brightness, plans, options=OPTIONS)) as running:
        assert running.more("a")
        assert running.camera_manager.cameras[1].state == "failed"
        assert "no class 'unicorn'" in running.camera_manager.cameras[1].detail


def test_a_line_outside_the_frame_ends_only_its_camera() -> None:
    pytest.importorskip("trackers")
    plans = [demo("a"), replace(demo("b"), analytics=AnalyticsOptions(lines=("0,0,500,500",)))]
    with Running(CameraManager(brightness, plans, options=OPTIONS)) as running:
        assert running.more("a")
        wait_for(lambda: running.state("b") == "failed")
        assert "outside the frame" in running.camera_manager.cameras[1].detail
        assert running.more("a")


def test_the_status_contains_lines_and_zones() -> None:
    pytest.importorskip("trackers")
    plan = replace(
        demo("a"), analytics=AnalyticsOptions(zones=("all=0,0,1,0,1,1,0,1",), lines=("0,0.5,1,0.5",))
    )
    with Running(CameraManager(brightness, [plan], options=OPTIONS)) as running:
        wait_for(lambda: len(running.camera_manager.cameras[0].counts) == 2)


def test_the_engine_reports_its_progress() -> None:
    go, reported = threading.Event(), threading.Event()

    def build(report: Report) -> Session:
        report("building an engine", 0.43)
        reported.set()
        assert go.wait(10)
        return BrightnessSession()

    with Running(CameraManager(build, [demo("a")], options=OPTIONS)) as running:
        assert reported.wait(10)
        readiness = running.camera_manager.readiness
        assert (readiness.phase, readiness.share, readiness.detail) == (
            "building",
            0.43,
            "building an engine",
        )
        assert not readiness.ready
        wait_for(lambda: running.state("a") == "running")  # cameras connect meanwhile
        go.set()
        assert running.more("a")


def test_an_engine_that_cannot_be_opened_is_a_failure() -> None:
    def refuse(report: Report) -> Session:
        raise EngineError("no engine fits")

    with Running(CameraManager(refuse, [demo("a")], options=OPTIONS)) as running:
        wait_for(lambda: running.camera_manager.readiness.phase == "failed")
        assert str(running.camera_manager.failure) == "no engine fits"
    assert running.camera_manager.readiness.phase == "failed"


def test_an_engine_that_breaks_is_a_failure() -> None:
    with Running(
        CameraManager(lambda _: BrightnessSession(fails_at=5), [demo("a")], options=OPTIONS)
    ) as running:
        wait_for(lambda: running.camera_manager.readiness.phase == "failed")
        assert isinstance(running.camera_manager.failure, EngineError)


class Hanging(BrightnessSession):
    """Its fourth call does not end until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.closed = False

    def _infer(self, frames: Frames) -> Outputs:
        if len(self.batches) == 3:
            self.let_go.wait(30)
        return super()._infer(frames)

    def close(self) -> None:
        self.closed = True


def test_a_station_whose_engine_hangs_is_closed_in_time() -> None:
    session = Hanging()
    with Running(CameraManager(lambda _: session, [demo("a")], options=OPTIONS)) as running:
        wait_for(lambda: running.camera_manager.stuck_s > 0.3)
        began_s = time.perf_counter()
    assert time.perf_counter() - began_s < 3.2
    assert not session.closed
    session.let_go.set()


def test_plans_are_changed_while_it_runs() -> None:
    sinks = {"old": ListSink(), "kept": ListSink()}
    plans = [replace(demo("a"), sinks=("kept",)), replace(demo("b"), sinks=("old",)), demo("c")]
    with Running(CameraManager(brightness, plans, sinks, OPTIONS)) as running:
        assert running.more("a")
        assert running.more("b")
        new = ListSink()
        frames, crossed = (camera.stats.frames for camera in running.camera_manager.cameras[:2])
        changed = [replace(plans[1], sinks=("new",), threshold=0.5), plans[0], demo("d")]
        message = running.camera_manager.apply(changed, {"kept": sinks["kept"], "new": new})
        assert message == (
            "sink old: removed",
            "sink new: added",
            "camera c: removed",
            "camera b: changed",
            "camera d: added",
        )
        assert sinks["old"].close_count == 1
        assert [camera.name for camera in running.camera_manager.cameras] == ["b", "a", "d"]
        assert running.camera_manager.cameras[0].threshold == 0.5
        assert running.camera_manager.cameras[1].stats.frames >= frames  # a goes on
        assert (
            running.camera_manager.cameras[0].stats.frames >= crossed
        )  # and so does b, whose source and places stay
        assert running.more("d")
        wait_for(lambda: len(new.seen) > 2)
        assert {processed.frame.source for processed in new.seen} == {"b"}
        assert running.camera_manager.apply(changed) == ()
    assert sinks["kept"].close_count == new.close_count == 1


def test_a_change_that_cannot_be_leaves_everything() -> None:
    with Running(CameraManager(brightness, [demo("a")], options=OPTIONS)) as running:
        assert running.more("a")
        with pytest.raises(UsageError, match="expected different names"):
            running.camera_manager.apply([demo("b"), demo("b")])
        with pytest.raises(UsageError, match="refers to the unknown sink 'nowhere'; expected one of: none"):
            running.camera_manager.apply([replace(demo("a"), sinks=("nowhere",))])
        assert running.more("a")


def test_another_engine_takes_over() -> None:
    first, second = BrightnessSession(), BrightnessSession()
    with Running(CameraManager(lambda _: first, [demo("a")], options=OPTIONS)) as running:
        assert running.more("a")
        message = running.camera_manager.apply([demo("a")], open_engine=lambda _: second)
        assert message == ("engine: opening a new one",)
        wait_for(lambda: running.camera_manager.session is second)
        assert running.more("a")
        assert second.batches

        def refuse(report: Report) -> Session:
            raise EngineError("no engine fits")

        running.camera_manager.apply([demo("a")], open_engine=refuse)
        assert running.more("a")
        assert running.camera_manager.readiness.ready


def test_other_budgets_hold_from_then_on() -> None:
    with Running(CameraManager(brightness, [demo("a")], options=OPTIONS)) as running:
        assert running.more("a")
        message = running.camera_manager.apply(
            [demo("a")], options=PipelineOptions(batch=1, max_age_ms=0.001)
        )
        assert message == ("budgets: changed",)
        wait_for(lambda: running.camera_manager.cameras[0].stats.lost.late > 3)


def test_a_listener_that_fails_is_called_no_more(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []

    def broken(name: str, processed: FrameResult) -> None:
        calls.append(name)
        raise ValueError("a bug")

    with Running(CameraManager(brightness, [demo("a")], options=OPTIONS)) as running:
        running.camera_manager.subscribe(broken)
        wait_for(lambda: bool(calls))
        assert running.more("a")
        assert len(calls) == 1
        running.end()
        count = running.counts["a"]
        time.sleep(0.1)
        assert running.counts["a"] <= count + 1


def test_names_differ_and_sinks_exist() -> None:
    with pytest.raises(UsageError, match="expected different names, received 'a', 'a'"):
        CameraManager(brightness, [demo("a"), demo("a")])
    with pytest.raises(UsageError, match="refers to the unknown sink 'x'"):
        CameraManager(brightness, [replace(demo("a"), sinks=("x",))])


def test_without_a_threshold_a_camera_has_the_bundle_s() -> None:
    found: dict[str, int] = {}
    point = ClassThresholds((1.0,))

    def engine(_: Report) -> Session:
        session = BrightnessSession()
        session.threshold = point
        return session

    def look(name: str, processed: FrameResult) -> None:
        found[name] = len(processed.result)  # type: ignore[arg-type]  # detections

    plans = [demo("a"), replace(demo("b"), threshold=None)]
    manager = CameraManager(engine, plans, options=OPTIONS)
    assert [camera.threshold for camera in manager.cameras] == [0.0, None]
    with Running(manager) as running:
        manager.subscribe(look)
        wait_for(lambda: found.get("a") == 1 and found.get("b") == 0)
        assert [camera.threshold for camera in manager.cameras] == [0.0, point]
        manager.apply([plans[1], replace(plans[0], name="b2")])
        manager.apply([replace(plans[1], threshold=0.0)])
        wait_for(lambda: found["b"] == 1)
        manager.apply(plans[1:])
        wait_for(lambda: found["b"] == 0)
        assert running.more("b")
