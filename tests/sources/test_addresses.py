"""Parsing of source addresses, and redaction of credentials."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import partial

import pytest

from edgevision.device.opencv_build import OpenCvBuild
from edgevision.errors import MissingExtraError, SourceError, UsageError
from edgevision.sources.addresses import SourceAddress, public_name
from edgevision.sources.feeds import capture, gstreamer, synthetic
from edgevision.sources.feeds.feed import Feed
from edgevision.sources.opening import open_source
from edgevision.sources.options import CameraOptions

OPTIONS = CameraOptions()


def factory(text: str) -> Callable[[], Feed]:
    return SourceAddress.parse(text).feed_factory(OPTIONS)


def opened_by(text: str) -> object:
    opener = factory(text)
    assert isinstance(opener, partial)
    return opener.func


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https", "RTSP"])
def test_addresses_are_read_by_pyav_and_without_it_by_opencv(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert getattr(opened_by(f"{scheme}://host/1"), "__name__", "") == "NetworkFeed"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert opened_by(f"{scheme}://host/1") is capture.open_address
    plain = OpenCvBuild("4.9.0", None, ffmpeg=False, gstreamer=False, v4l=True)
    monkeypatch.setattr(OpenCvBuild, "here", classmethod(lambda cls: plain))
    with pytest.raises(
        MissingExtraError, match=r"needs PyAV, which is not installed: pip install 'edgevision\[rtsp\]'"
    ):
        factory(f"{scheme}://host/1")


@pytest.mark.parametrize(
    "text", ["csi://0", "csi://1?width=1280&height=720&fps=60&flip=2", "gst:videotestsrc"]
)
def test_pipelines_are_opened_by_opencv_if_it_can_and_else_by_the_program(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for gstreamer_in_it, expected in ((False, gstreamer.LaunchFeed), (True, capture.open_pipeline)):
        build = OpenCvBuild("4.9.0", None, ffmpeg=True, gstreamer=gstreamer_in_it, v4l=True)
        monkeypatch.setattr(OpenCvBuild, "here", classmethod(lambda cls, build=build: build))
        assert opened_by(text) is expected


def test_the_demo_camera_has_a_size_and_a_pace() -> None:
    opener = factory("demo:320x240@12")
    assert isinstance(opener, partial)
    assert (opener.func, opener.args) == (synthetic.SyntheticFeed, ((320, 240), 12.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://host/1", r"ftp:// is not a known scheme; expected an image, .* demo:"),
        ("gst:", "gst: has no pipeline"),
        ("csi://left", "csi://left is not a CSI camera; expected csi://0"),
        ("csi://0?speed=9", "is not a CSI camera"),
        ("csi://0?width=-9", "is not a CSI camera"),
        ("demo:big", "demo:big is not a synthetic camera; expected demo:, demo:1280x720"),
    ],
)
def test_an_invalid_address_is_refused(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        factory(text)


@pytest.mark.parametrize("text", ["street.mp4", "a:b.mp4", "C:\\street.mp4", "./0", "rtsp.mp4", "http:/x"])
def test_files_are_no_addresses(text: str) -> None:
    assert SourceAddress.parse(text).kind == "path"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://user:p%40ss@host:554/1?user=a&password=b", "rtsp://host:554/1"),
        ("rtsp://host/1", "rtsp://host/1"),
        ("http://u:p@x:1@host/a", "http://host/a"),
        (
            "gst:rtspsrc location=rtsp://u:p@host/1 ! decodebin",
            "gst:rtspsrc location=rtsp://host/1 ! decodebin",
        ),
        ("demo:", "demo:"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert public_name(text) == shown


def test_the_pipeline_of_a_csi_camera() -> None:
    camera = gstreamer.CsiCamera.from_address("csi://1?width=1280&height=720&fps=60&flip=2")
    assert camera == gstreamer.CsiCamera(1, 1280, 720, 60, 2)
    assert camera.pipeline("I420") == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=60/1,format=NV12"
        " ! nvvidconv flip-method=2 ! video/x-raw,format=I420"
    )
    assert camera.pipeline("BGR").endswith("format=BGRx ! videoconvert ! video/x-raw,format=BGR")


@pytest.mark.parametrize("name", ["connect_timeout_s", "read_timeout_s", "first_frame_s"])
def test_a_time_out_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is 0; expected seconds above 0"):
        CameraOptions(**{name: 0})  # type: ignore[arg-type]  # of a name that is chosen above


def test_a_source_is_opened_without_pyav_being_imported() -> None:
    assert "edgevision.sources.feeds.network" not in sys.modules or importlib.util.find_spec("av")
    with open_source("demo:64x48@60") as source:
        frames = [source.read() for _ in range(3)]
        assert (source.name, source.live, source.fps, source.size_wh) == (
            "demo:64x48@60",
            True,
            60.0,
            (64, 48),
        )
    assert all(frame is not None and frame.clock == "camera" for frame in frames)
