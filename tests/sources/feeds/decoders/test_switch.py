"""A live stream's decoder: software first, hardware without a gap, and back to software if it fails."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.sources.feeds.decoders import probe, switch
from edgevision.sources.feeds.decoders.candidates import DecoderCandidate, DecoderChoice
from edgevision.sources.feeds.decoders.switch import LiveDecoder
from edgevision.sources.options import DecoderSetting

RIGHT = DecoderCandidate("right", "openh264dec")
MakeClip = Callable[..., Any]
Seen = tuple[int, str, int]
"""Time stamp, decoder and mean brightness of a frame."""


def played(
    path: Path, setting: DecoderSetting = "auto", period_s: float = 0.03, limit: int = 1000
) -> Iterator[Seen]:
    """The frames of a clip whose packets arrive at a camera's rate."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = LiveDecoder(stream, setting)
        try:
            for packet in itertools.islice(container.demux(stream), limit):
                if packet.size:
                    # A busy machine starts a process slowly.
                    time.sleep(0.1 if decoder.name == "software" and decoder._hardware else period_s)
                for frame in decoder.decode(packet):
                    assert frame.pts is not None
                    mean = int(np.asarray(frame.to_ndarray(format="gray")).mean())
                    yield frame.pts, decoder.name, mean
        finally:
            decoder.close()


def taken(candidate: DecoderCandidate) -> Callable[..., DecoderChoice]:
    """Stands for a probe that took the candidate."""
    return lambda *_, **__: DecoderChoice(candidate, "taken")


@pytest.fixture
def clip_path(make_clip: MakeClip) -> Path:
    path: Path = make_clip(frames=90, g="15").path
    return path


def software_frames(path: Path) -> list[tuple[int, int]]:
    return [(pts, mean) for pts, _, mean in played(path, "software", 0.0)]


def test_hardware_takes_over_without_a_gap(
    clip_path: Path, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(RIGHT)
    monkeypatch.setattr(switch, "choose", taken(RIGHT))
    seen = list(played(clip_path))
    assert [(pts, mean) for pts, _, mean in seen] == software_frames(clip_path)
    names = [name for _, name, _ in seen]
    change = names.index("right")
    assert probe.UNITS < change < 80, "after the probe's frames, at a key frame"
    assert set(names[change:]) == {"right"}


def test_the_probe_decides_in_the_background(
    clip_path: Path, use: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    use(DecoderCandidate("lacking", "nosuchdecoder"))
    seen = list(played(clip_path, period_s=0.01))
    assert [(pts, mean) for pts, _, mean in seen] == software_frames(clip_path)
    assert {name for _, name, _ in seen} == {"software"}
    assert caplog.messages == [
        "h264 214x96 is decoded in software; lacking: GStreamer has no element nosuchdecoder"
    ]


@pytest.mark.parametrize(
    ("elements", "first_s", "reason"),
    [
        ("openh264dec ! valve drop=true", 0.5, r"no frame within 0\.5 s; all of its sessions may be in use"),
        ("openh264dec ! identity sleep-time=100000000", 0.5, r"no frame within 0\.5 s"),
    ],
    ids=["no session left", "hangs"],
)
def test_streams_beyond_the_decoders_sessions_stay_in_software(
    elements: str,
    first_s: float,
    reason: str,
    clip_path: Path,
    use: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The probe passed, and then the stream gets no frame: nothing is missing, and one line says so."""
    used = DecoderCandidate("used up", elements)
    use(used)
    monkeypatch.setattr(switch, "choose", taken(used))
    monkeypatch.setattr(switch, "FIRST_FRAME_S", first_s)
    for _ in range(2):
        seen = list(played(clip_path, period_s=0.01))
        assert [(pts, mean) for pts, _, mean in seen] == software_frames(clip_path)
        assert {name for _, name, _ in seen} == {"software"}
    assert len(caplog.messages) == 1
    assert re.match(f"h264 214x96 is decoded in software; used up: {reason}", caplog.messages[0])


def test_a_late_failure_returns_to_software_at_a_key_frame(
    clip_path: Path,
    use: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = DecoderCandidate("failing", "openh264dec ! identity error-after=25")
    use(failing)
    monkeypatch.setattr(switch, "choose", taken(failing))
    seen = list(played(clip_path))
    expected = software_frames(clip_path)
    found = [(pts, mean) for pts, _, mean in seen]
    assert set(found) <= set(expected), "no frame is decoded without its reference"
    missing = [place for place, frame in enumerate(expected) if frame not in found]
    assert len(missing) <= 15, "at most the rest of a group of pictures"
    assert [name for name, _ in itertools.groupby(name for _, name, _ in seen)] == [
        "software",
        "failing",
        "software",
    ]
    assert "failing: the pipeline ended: Failed after iterations" in caplog.messages[0]


def test_forced_hardware_is_used_without_a_probe(clip_path: Path, use: Callable[..., None]) -> None:
    use(RIGHT)
    seen = list(played(clip_path, "hardware"))
    assert [(pts, mean) for pts, _, mean in seen] == software_frames(clip_path)
    names = [name for _, name, _ in seen]
    assert names.index("right") < 45


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        (None, "this machine has none that edgevision uses"),
        (DecoderCandidate("lacking", "nosuchdecoder"), "lacking: GStreamer has no element nosuchdecoder"),
        (DecoderCandidate("silent", "openh264dec ! valve drop=true"), r"silent: no frame within 0\.3 s"),
    ],
    ids=["none", "lacking", "silent"],
)
def test_forced_hardware_that_fails_is_an_error(
    candidate: DecoderCandidate | None,
    message: str,
    clip_path: Path,
    use: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(*([candidate] if candidate else []))
    monkeypatch.setattr(switch, "FIRST_FRAME_S", 0.3)
    with pytest.raises(SourceError, match=f"{message}.*; use --decoder auto"):
        list(played(clip_path, "hardware"))


@pytest.mark.slow
def test_a_known_kind_is_not_probed_again(
    clip_path: Path, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second stream of a kind uses hardware from its second key frame on."""
    use(RIGHT)
    calls = []

    def once(kind: Any, units: Any, candidates: Any, *, live: bool) -> DecoderChoice:
        calls.append(kind)
        probe._SLOTS[(kind, live, candidates)] = slot = probe._Slot()
        slot.choice = DecoderChoice(RIGHT, "taken")
        return slot.choice

    monkeypatch.setattr(switch, "choose", once)
    first, second = ([name for _, name, _ in played(clip_path)] for _ in range(2))
    assert len(calls) == 1
    assert second.index("right") < first.index("right")


def test_other_codecs_are_left_to_ffmpeg(tmp_path: Path, use: Callable[..., None]) -> None:
    use(RIGHT)
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * level, np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert {name for _, name, _ in played(path, period_s=0)} == {"software"}
    with pytest.raises(SourceError, match="mpeg4: hardware decoders are used for h264 and hevc only"):
        list(played(path, "hardware"))


def test_the_live_path_adds_no_age(clip_path: Path, use: Callable[..., None]) -> None:
    """After the change each packet gives its own frame: no queue is deeper than one frame."""
    use(RIGHT)
    with av.open(str(clip_path)) as container:
        stream = container.streams.video[0]
        decoder = LiveDecoder(stream, "hardware")
        delays = []
        for packet in container.demux(stream):
            if packet.size:
                time.sleep(0.1 if decoder.name == "software" and decoder._hardware else 0.03)
                frames = decoder.decode(packet)
                if decoder.name == "right":
                    delays.append((packet.pts or 0) - (frames[-1].pts or 0) if frames else -1)
        decoder.close()
    assert len(delays) > 40
    assert np.median(delays) == 0
