"""Video files through a hardware decoder: every frame, in order, with OpenCV's positions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.sources.feeds.decoders import file_capture
from edgevision.sources.feeds.decoders.candidates import DecoderCandidate, DecoderChoice, has_element
from edgevision.sources.feeds.decoders.file_capture import HardwareCapture
from edgevision.sources.feeds.picture import PictureFrame
from edgevision.sources.opening import VideoSource, open_source
from edgevision.sources.options import CameraOptions, DecoderSetting

RIGHT = DecoderCandidate("right", "openh264dec")
MakeClip = Callable[..., Any]
Use = Callable[..., None]


def read(path: Any, setting: DecoderSetting, *, hardware: bool) -> list[tuple[float, np.ndarray[Any, Any]]]:
    """Position and image of each frame."""
    with open_source(path, CameraOptions(decoder=setting)) as source:
        assert isinstance(source, VideoSource)
        assert isinstance(source._capture, HardwareCapture) == hardware
        assert source.fps == 25
        return [(frame.position_s or 0.0, frame.image_bgr) for frame in source]


def assert_same(one: list[Any], other: list[Any], *, but: int = 0) -> None:
    """Decoding is exact; the conversions of OpenCV's and PyAV's FFmpeg may round differently.

    `but`: maximum number of other images. A pipeline that fails may lose a frame and deliver the next ones.
    """
    for (position_s, _), (expected_s, _) in zip(one, other, strict=True):
        assert position_s == pytest.approx(expected_s, abs=1e-3)
    pairs = zip(one, other, strict=True)
    differences = [
        int(np.abs(image.astype(np.int16) - expected).max()) for (_, image), (_, expected) in pairs
    ]
    assert sum(difference > 2 for difference in differences) <= but, differences


@pytest.mark.parametrize(
    ("codec", "element", "options"),
    [
        ("libx264", "openh264dec", {}),
        ("libx265", "libde265dec", {"bf": "2", "x265-params": "log-level=none:bframes=2:open-gop=0"}),
    ],
    ids=["h264", "hevc with reordered frames"],
)
@pytest.mark.parametrize("width", [214, 320])
def test_hardware_gives_softwares_frames(
    codec: str, element: str, options: dict[str, str], width: int, make_clip: MakeClip, use: Use
) -> None:
    if not has_element(element):
        pytest.skip(f"no {element}")
    use(DecoderCandidate("hardware", element))
    clip = make_clip((width, 96), 40, codec=codec, **options)
    hardware = read(clip.path, "hardware", hardware=True)
    assert len(hardware) == 40
    assert_same(hardware, read(clip.path, "software", hardware=False))


def test_hardware_gives_its_planes(make_clip: MakeClip, use: Use) -> None:
    use(RIGHT)
    clip = make_clip((214, 96), 10)
    with open_source(clip.path, CameraOptions(decoder="hardware")) as source:
        source.use_planes()
        frames = list(source)
    assert [isinstance(frame.pixels, PictureFrame) for frame in frames] == [True] * 10
    software = [image for _, image in read(clip.path, "software", hardware=False)]
    for frame, image in zip(frames, software, strict=True):
        assert frame.image_bgr.shape == image.shape
        assert np.abs(frame.image_bgr.astype(int) - image).max() <= 3


@pytest.mark.parametrize(
    "elements",
    ["openh264dec ! identity error-after=17", "openh264dec ! identity eos-after=17"],
    ids=["fails", "ends"],
)
def test_software_continues_after_the_last_frame(
    elements: str,
    make_clip: MakeClip,
    use: Use,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = DecoderCandidate("failing", elements)
    use(failing)
    monkeypatch.setattr(file_capture, "choose", lambda *_, **__: DecoderChoice(failing, "taken"))
    clip = make_clip()
    assert_same(read(clip.path, "auto", hardware=True), read(clip.path, "software", hardware=False), but=4)
    assert len(caplog.messages) == 1
    assert re.search(r"software continues at frame [12]\d$", caplog.messages[0])
    with pytest.raises(SourceError, match="failing: .*; use --decoder auto"):
        read(clip.path, "hardware", hardware=True)


def test_a_hanging_decoder_is_left_within_its_time_out(
    make_clip: MakeClip, use: Use, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hanging = DecoderCandidate("hanging", "openh264dec ! identity sleep-time=100000000")
    use(hanging)
    monkeypatch.setattr(file_capture, "choose", lambda *_, **__: DecoderChoice(hanging, "taken"))
    monkeypatch.setattr(file_capture, "FIRST_FRAME_S", 0.3)
    clip = make_clip()
    assert_same(read(clip.path, "auto", hardware=True), read(clip.path, "software", hardware=False))
    assert "hanging: no frame within 0.3 s; software continues at frame 0" in caplog.messages[0]


def test_auto_uses_software_if_the_probe_refuses(make_clip: MakeClip, use: Use) -> None:
    use(DecoderCandidate("lacking", "nosuchdecoder"))
    clip = make_clip()
    assert len(read(clip.path, "auto", hardware=False)) == 36
    with pytest.raises(SourceError, match="lacking: GStreamer has no element nosuchdecoder"):
        read(clip.path, "hardware", hardware=True)


def test_a_machine_without_hardware_does_not_open_the_file_twice(
    make_clip: MakeClip, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    use()
    monkeypatch.setattr(file_capture, "_first_units", lambda _: pytest.fail("the file was opened"))
    assert len(read(make_clip().path, "auto", hardware=False)) == 36
