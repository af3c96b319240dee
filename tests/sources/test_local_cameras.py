"""Local cameras that are absent, and devices that are not cameras."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from edgevision.errors import SourceError
from edgevision.sources.live import open_camera
from edgevision.sources.opening import open_source
from edgevision.sources.options import CameraOptions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="device files are Linux's")


def test_a_camera_that_does_not_exist_is_refused_at_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "video0").touch()
    (tmp_path / "video2").touch()
    began = time.perf_counter()
    with pytest.raises(
        SourceError, match="camera 7 does not exist: there is no .*; cameras here: .*video0, .*video2"
    ):
        open_camera(7, devices=tmp_path)
    for text in ("63", "/dev/video63"):
        with pytest.raises(SourceError, match=r"camera 63 does not exist: there is no /dev/video63"):
            open_source(text)
    assert time.perf_counter() - began < 1
    assert capfd.readouterr() == ("", "")


def test_a_camera_that_is_not_plugged_in_is_awaited(tmp_path: Path) -> None:
    with open_camera(7, devices=tmp_path, options=CameraOptions(wait_first=False)) as source:
        deadline_s = time.monotonic() + 20
        while (outage := source.health.last_outage) is None:
            assert time.monotonic() < deadline_s
            time.sleep(0.002)
    assert outage is not None
    assert outage.reason == f"there is no {tmp_path / 'video7'}; cameras here: none"


def test_a_device_other_than_a_camera_is_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "video63").touch()
    with pytest.raises(
        SourceError,
        match="camera 63 delivers no frames: the device cannot be opened: another program may use it",
    ):
        open_camera(63, devices=tmp_path)
    assert capfd.readouterr() == ("", "")
