"""Features of an OpenCV build."""

from __future__ import annotations

import cv2
import pytest

from edgevision.device.opencv_build import OpenCvBuild, opencv_packages, quiet_opencv, why_no_window

DESKTOP = """
  GUI:                           QT5
    QT:                          YES (ver 5.15.16 )
  Video I/O:
    DC1394:                      NO
    FFMPEG:                      YES
    GStreamer:                   NO
    v4l/v4l2:                    YES (linux/videodev2.h)
"""
JETPACK = """
  GUI:                           GTK2
    GTK+:                        YES (ver 2.24.33)
  Video I/O:
    FFMPEG:                      NO
    GStreamer:                   YES (1.20.3)
    v4l/v4l2:                    YES (linux/videodev2.h)
"""
OLD = """
  GUI:
    GTK+:                        YES (ver 3.24.20)
  Video I/O:
    FFMPEG:                      YES
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DESKTOP, OpenCvBuild("4.10.0", "QT5", ffmpeg=True, gstreamer=False, v4l=True)),
        (JETPACK, OpenCvBuild("4.10.0", "GTK2", ffmpeg=False, gstreamer=True, v4l=True)),
        (OLD, OpenCvBuild("4.10.0", "GTK+", ffmpeg=True, gstreamer=False, v4l=False)),
        ("  GUI:      NONE\n", OpenCvBuild("4.10.0", None, ffmpeg=False, gstreamer=False, v4l=False)),
        ("", OpenCvBuild("4.10.0", None, ffmpeg=False, gstreamer=False, v4l=False)),
    ],
    ids=["desktop", "jetpack", "old", "headless", "empty"],
)
def test_the_build_is_read_from_its_text(text: str, expected: OpenCvBuild) -> None:
    assert OpenCvBuild.from_text("4.10.0", text) == expected


def test_this_build_reads_videos() -> None:
    assert OpenCvBuild.here().ffmpeg
    assert opencv_packages()


def test_a_headless_build_names_its_fix() -> None:
    reason = why_no_window(OpenCvBuild.from_text("5.0.0", ""), {"DISPLAY": ":0"})
    assert reason is not None
    assert "pip uninstall opencv-python-headless && pip install opencv-python" in reason


def test_a_missing_display_is_reported_before_qt_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    build = OpenCvBuild.from_text("5.0.0", DESKTOP)
    assert "DISPLAY" in (why_no_window(build, {}) or "")
    assert why_no_window(build, {"WAYLAND_DISPLAY": "wayland-0"}) is None


def test_quiet_is_quiet_and_ends(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_opencv():
        cv2.imread("/nowhere/at/all.png")
    assert capfd.readouterr().err == ""
    cv2.imread("/nowhere/at/all.png")
    assert "all.png" in capfd.readouterr().err


def test_threads_inside_together_set_the_level_back(capfd: pytest.CaptureFixture[str]) -> None:
    first, second = quiet_opencv(), quiet_opencv()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    cv2.imread("/nowhere/at/all.png")
    assert capfd.readouterr().err == ""
    second.__exit__(None, None, None)
    cv2.imread("/nowhere/at/all.png")
    assert "all.png" in capfd.readouterr().err
