"""The watchdog with a simulated clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from edgevision.service.camera_plan import NOTHING_YET, CameraState, CameraStatus, Readiness
from edgevision.service.watchdog import CameraLimit, Watchdog, WatchdogFinding, WatchdogOptions
from edgevision.sources.health import FrameCounts, SourceHealth

READY = Readiness("running")


@dataclass
class ActedManager:
    readiness: Readiness = READY
    cameras: tuple[CameraStatus, ...] = ()
    failure: BaseException | None = None
    stuck_s: float = 0.0
    expected_inference_s: float = 0.02


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def camera(
    name: str = "door",
    state: CameraState = "running",
    *,
    age_s: float | None = 0.1,
    frames: int = 0,
    late: int = 0,
) -> CameraStatus:
    health = SourceHealth(last_frame_age_s=age_s)
    stats = replace(NOTHING_YET, frames=frames, health=replace(health, lost=FrameCounts(late=late)))
    return CameraStatus(name, "demo:", state, 0.25, stats)


def watched(**limits: CameraLimit) -> tuple[Watchdog, Clock]:
    clock = Clock()
    return Watchdog(WatchdogOptions(), limits, clock), clock


def test_a_station_that_works_gives_no_reason() -> None:
    watchdog, clock = watched()
    for frames in range(5):
        assert watchdog.look(ActedManager(cameras=(camera(frames=frames),))) == WatchdogFinding()
        clock.now_s += 9


@pytest.mark.parametrize(
    ("stuck_s", "expected_s", "hangs"),
    [(9.9, 0.02, False), (10.1, 0.02, True), (19, 1, False), (21, 1, True)],
)
def test_a_call_hangs_after_ten_seconds_and_twenty_times_its_time(
    stuck_s: float, expected_s: float, hangs: bool
) -> None:
    watchdog, _ = watched()
    finding = watchdog.look(ActedManager(stuck_s=stuck_s, expected_inference_s=expected_s))
    assert finding.hangs is hangs
    assert (finding.fatal is not None) is hangs
    if hangs:
        assert finding.fatal == (
            f"an engine call has taken {stuck_s:.1f} s; usually it takes {expected_s * 1e3:.0f} ms"
        )


def test_the_first_call_may_take_ten_minutes() -> None:
    watchdog, clock = watched()
    camera_manager = ActedManager(cameras=(camera(frames=0),), stuck_s=599, expected_inference_s=0)
    assert watchdog.look(camera_manager) == WatchdogFinding()
    clock.now_s += 599
    assert watchdog.look(camera_manager) == WatchdogFinding()
    camera_manager.stuck_s = 601
    assert watchdog.look(camera_manager).fatal == "an engine call has taken 601.0 s; it is the first call"


def test_a_pipeline_without_output_is_reported_as_hung() -> None:
    watchdog, clock = watched()
    camera_manager = ActedManager(cameras=(camera(frames=7),))
    assert watchdog.look(camera_manager) == WatchdogFinding()
    clock.now_s += 10
    assert watchdog.look(camera_manager) == WatchdogFinding()
    clock.now_s += 0.5
    finding = watchdog.look(camera_manager)
    assert finding.hangs
    assert finding.fatal == "cameras supply frames, but none has left the pipeline for 10.5 s"


def test_late_frames_and_silent_cameras_are_not_reported_as_hung() -> None:
    watchdog, clock = watched()
    for late in range(3):
        assert watchdog.look(ActedManager(cameras=(camera(late=late),))) == WatchdogFinding()
        clock.now_s += 9
    silent = ActedManager(cameras=(camera(late=3, age_s=5.0), camera("yard", "reconnecting", age_s=0.1)))
    for _ in range(3):
        assert watchdog.look(silent) == WatchdogFinding()
        clock.now_s += 9
    # They are back: the standstill is counted from the last look before that.
    back = ActedManager(cameras=(camera(late=3),))
    assert watchdog.look(back) == WatchdogFinding()
    clock.now_s += 0.9
    assert watchdog.look(back) == WatchdogFinding()


def test_a_failed_station_is_fatal_and_nothing_hangs() -> None:
    watchdog, _ = watched()
    finding = watchdog.look(
        ActedManager(Readiness("failed", None, "no"), failure=ValueError("the graph broke"))
    )
    assert finding == WatchdogFinding("the camera manager has failed: the graph broke")
    assert (
        watchdog.look(ActedManager(Readiness("failed", None, "no GPU"))).fatal
        == "the camera manager has failed: no GPU"
    )


def test_opening_may_take_an_hour() -> None:
    watchdog, clock = watched()
    building = ActedManager(Readiness("building", 0.4, "tactics"))
    assert watchdog.look(building) == WatchdogFinding(opening=True)
    clock.now_s += 3599
    assert watchdog.look(building) == WatchdogFinding(opening=True)
    clock.now_s += 2
    finding = watchdog.look(building)
    assert finding.hangs
    assert finding.fatal == "the engine is not open after 3601 s, last activity: tactics"


def test_a_new_engine_has_no_time_limit_while_the_old_one_runs() -> None:
    watchdog, clock = watched()
    camera_manager = ActedManager(cameras=(camera(frames=7),))
    assert watchdog.look(camera_manager) == WatchdogFinding()
    camera_manager.readiness = Readiness("opening")
    clock.now_s += 9999
    assert watchdog.look(camera_manager) == WatchdogFinding()
    camera_manager.readiness = READY
    clock.now_s += 9
    assert watchdog.look(camera_manager) == WatchdogFinding()


def test_a_silent_camera_is_reopened_with_growing_periods() -> None:
    watchdog, clock = watched(door=CameraLimit(100.0))
    camera_manager = ActedManager(cameras=(camera(state="reconnecting", age_s=None),))
    opened = []
    for second in range(20_000):
        if watchdog.look(camera_manager).reopen:
            opened.append(second)
        clock.now_s += 1
    # 100, 200, 400 ... seconds apart, and an hour at most.
    gaps = [later - earlier for earlier, later in zip([0, *opened], opened, strict=False)]
    assert gaps == [101, 201, 401, 801, 1601, 3201, 3601, 3601, 3601]


def test_a_valid_frame_resets_the_watchdog() -> None:
    watchdog, clock = watched(door=CameraLimit(100.0))
    silent = ActedManager(cameras=(camera(state="frozen", age_s=None),))
    watchdog.look(silent)
    clock.now_s += 101
    assert watchdog.look(silent).reopen == (("door", 101.0),)
    clock.now_s += 50
    assert watchdog.look(ActedManager(cameras=(camera(age_s=10.0),))) == WatchdogFinding()
    aged = ActedManager(cameras=(camera(state="black", age_s=101.0),))
    clock.now_s += 91
    assert watchdog.look(aged).reopen == (("door", 101.0),)


@pytest.mark.parametrize(
    ("limit", "state", "opens"),
    [
        (CameraLimit(100.0), "failed", True),
        (CameraLimit(100.0, failed_too=False), "failed", False),
        (CameraLimit(100.0, failed_too=False), "reconnecting", True),
        (CameraLimit(None), "reconnecting", False),
        (CameraLimit(100.0), "stopped", False),
        (CameraLimit(100.0), "ended", False),
        (CameraLimit(100.0), "connecting", True),
    ],
)
def test_which_cameras_are_reopened(limit: CameraLimit, state: CameraState, opens: bool) -> None:
    watchdog, clock = watched(door=limit)
    camera_manager = ActedManager(cameras=(camera(state=state, age_s=None),))
    watchdog.look(camera_manager)
    clock.now_s += 200
    assert bool(watchdog.look(camera_manager).reopen) is opens


def test_a_camera_that_was_stopped_for_long_is_new_when_it_is_started() -> None:
    watchdog, clock = watched()
    watchdog.look(ActedManager(cameras=(camera(state="connecting", age_s=None),)))
    clock.now_s += 250
    watchdog.look(ActedManager(cameras=(camera(state="stopped", age_s=None),)))
    clock.now_s += 250
    assert watchdog.look(ActedManager(cameras=(camera(state="connecting", age_s=None),))) == WatchdogFinding()
