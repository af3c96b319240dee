"""The probe chooses a hardware decoder only if it is installed, in time, correct, and faster than software."""

from __future__ import annotations

import logging
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevision.errors import SourceError
from edgevision.sources.feeds.decoders import probe
from edgevision.sources.feeds.decoders.candidates import DecoderCandidate
from edgevision.sources.feeds.decoders.decoder import StreamKind

MakeClip = Callable[..., Any]
GREEN = "fakesink sync=false videotestsrc num-buffers=36 pattern=green ! video/x-raw,width={0},height={1} ! identity"
STAND_INS = {
    "hangs": ("openh264dec ! identity sleep-time=100000000", r"no frame within 1 s"),
    "answers nothing": ("openh264dec ! valve drop=true", r"no frame within 1 s"),
    "ends": ("openh264dec ! identity eos-after=1", r"(the pipeline ended|it ended without a frame)"),
    "fails": (
        "openh264dec ! identity error-after=9",
        r"the pipeline ended: Failed after iterations as requested\.",
    ),
    "answers green": (GREEN, r"its frames differ from software's: PSNR \d+\.\d dB; expected 40 or more"),
    "wrong range": (
        "openh264dec ! capssetter caps=video/x-raw,colorimetry=bt601 ! videobalance brightness=0.06",
        r"its frames differ from software's: PSNR [12]\d\.\d dB",
    ),
    "lacks the element": ("nosuchdecoder ! nvvidconv", r"GStreamer has no element nosuchdecoder"),
    "slower": (
        "openh264dec ! identity sleep-time=15000",
        r"not faster: \d+\.\d ms and \d+\.\d ms of CPU a frame; software \d+\.\d and \d+\.\d",
    ),
    "holds back": (
        # Five threads of an encoder delay by four frames.
        "openh264dec ! x264enc threads=5 sliced-threads=false pass=qual quantizer=1 speed-preset=ultrafast"
        " rc-lookahead=0 sync-lookahead=0 bframes=0 ! h264parse ! openh264dec",
        r"it holds back 4 frames, software 0; each adds a frame period of age",
    ),
}


@pytest.mark.parametrize("what", STAND_INS)
def test_stand_ins_fall_back_in_time_and_say_so_once(
    what: str, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    elements, reason = STAND_INS[what]
    if reason.startswith("no frame"):
        monkeypatch.setattr(probe, "FIRST_FRAME_S", 1.0)
    clip = make_clip(frames=30)
    candidate = DecoderCandidate("stand-in", elements.format(clip.kind.width, clip.kind.height))
    began_s = time.monotonic()
    with caplog.at_level(logging.INFO):
        choices = [probe.choose(clip.kind, clip.units, (candidate,), live=True) for _ in range(3)]
    assert time.monotonic() - began_s < probe.START_S
    assert {choice.candidate for choice in choices} == {None}
    assert re.fullmatch(rf"h264 214x96 is decoded in software; stand-in: {reason}.*", choices[0].reason)
    assert caplog.messages == [choices[0].reason]
    until_s = time.monotonic() + 5
    while running("openh264dec"):
        assert time.monotonic() < until_s, "no process stays"
        time.sleep(0.02)


def test_a_decoder_that_is_right_and_faster_is_taken(make_clip: MakeClip, tmp_path: Path) -> None:
    """The stand-in gets its frames from a file, as if another chip had decoded them."""
    clip = make_clip((640, 480), 16, noise=40, qp="20")
    raw = tmp_path / "frames.y4m"
    command = (
        f"filesrc location={clip.path} ! qtdemux ! h264parse ! openh264dec ! y4menc ! filesink location={raw}"
    )
    subprocess.run(["gst-launch-1.0", "-q", *command.split()], check=True, timeout=60)
    elements = f"fakesink sync=false filesrc blocksize=460000 location={raw} ! y4mdec ! identity"
    choice = probe.probe(clip.kind, clip.units, (DecoderCandidate("fast", elements),), live=True)
    assert re.fullmatch(
        r"h264 640x480 is decoded by fast: \d+\.\d ms and \d+\.\d ms of CPU a frame; software \d+\.\d and \d+\.\d",
        choice.reason,
    )
    assert choice.candidate is not None


def test_the_next_candidate_is_tried(make_clip: MakeClip) -> None:
    clip = make_clip(frames=30)
    pair = (DecoderCandidate("one", "nosuchone"), DecoderCandidate("two", "nosuchtwo"))
    reason = probe.probe(clip.kind, clip.units, pair, live=True).reason
    assert "one: GStreamer has no element nosuchone; two: GStreamer has no element nosuchtwo" in reason


def test_ffmpegs_cuda_without_a_gpu_is_refused_with_its_reason(make_clip: MakeClip) -> None:
    clip = make_clip(frames=30)
    choice = probe.probe(
        clip.kind, clip.units, (DecoderCandidate("cuda", accelerator="nosuchdevice"),), live=True
    )
    assert choice.candidate is None
    assert "cuda: FFmpeg cannot open the decoder: " in choice.reason


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (StreamKind("mjpeg", 64, 48, "yuvj420p", 5, 2), "hardware decoders are used for h264 and hevc only"),
        (StreamKind("h264", 64, 48, "yuv422p10le", 2, 0), "its pixel format is yuv422p10le"),
    ],
)
def test_kinds_without_hardware(kind: StreamKind, reason: str) -> None:
    candidate = DecoderCandidate("stand-in", "openh264dec")
    assert reason in probe.probe(kind, (), (candidate,), live=True).reason
    with pytest.raises(SourceError, match=f"{reason}.*; use --decoder auto"):
        probe.forced(kind, (candidate,))


def test_no_candidate_is_said_quietly(caplog: pytest.LogCaptureFixture) -> None:
    kind = StreamKind("h264", 64, 48, "yuv420p", 2, 0)
    choice = probe.choose(kind, (), (), live=True)
    assert choice.reason == "h264 64x48 is decoded in software: this machine has no hardware decoder for it"
    assert not caplog.messages
    with pytest.raises(SourceError, match="this machine has none that edgevision uses"):
        probe.forced(kind, ())


def running(words: str) -> list[str]:
    """Command lines of running processes that contain `words`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if words in line and LAUNCHED in line:
            found.append(line)
    return found


LAUNCHED = "gst-launch-1.0"
