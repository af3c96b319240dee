"""Clips, and stand-ins for hardware decoders: GStreamer pipelines that decode in software, or misbehave."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edgevision.sources.feeds.decoders import candidates, probe, switch
from edgevision.sources.feeds.decoders.candidates import DecoderCandidate
from edgevision.sources.feeds.decoders.decoder import PyAvDecoder, StreamKind, Unit, UnitReader
from edgevision.sources.feeds.launched import LAUNCHER

RIGHT = "openh264dec"


@pytest.fixture(autouse=True)
def _programs() -> None:
    if shutil.which(LAUNCHER) is None or not candidates.has_element(RIGHT):
        pytest.skip(f"needs {LAUNCHER} and {RIGHT}: apt install gstreamer1.0-tools gstreamer1.0-plugins-bad")


@pytest.fixture(autouse=True)
def _no_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choices and messages of one test do not reach the next one."""
    monkeypatch.setattr(probe, "_SLOTS", {})
    monkeypatch.setattr(switch, "_LOGGED", set())


@dataclass(frozen=True, slots=True)
class Clip:
    """A video file."""

    path: Path
    kind: StreamKind
    units: tuple[Unit, ...]


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Clip]:
    """Writes a clip; each of its frames differs."""

    def made(
        size_wh: tuple[int, int] = (214, 96),
        frames: int = 36,
        *,
        codec: str = "libx264",
        noise: int = 0,
        suffix: str = ".mp4",
        **options: str,
    ) -> Clip:
        path = tmp_path / f"clip{suffix}"
        write_clip(
            path, size_wh, frames, codec, noise, {"preset": "ultrafast", "g": "12", "bf": "0", **options}
        )
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            reader = UnitReader(stream)
            units = tuple(
                unit for packet in container.demux(stream) if packet.size for unit in reader.units(packet)
            )
        name = "hevc" if "265" in codec else "h264"
        decoder = PyAvDecoder(StreamKind(name, *size_wh, "yuv420p", 2, 0))
        pictures = [picture for unit in units for picture in decoder.decode(unit)] or decoder.finish()
        return Clip(path, StreamKind.of(name, pictures[0]), units)

    return made


def write_clip(
    path: Path, size_wh: tuple[int, int], frames: int, codec: str, noise: int, options: dict[str, str]
) -> None:
    """Frame n has a bar at 5 n pixels on a gradient; `noise` makes the stream expensive to decode."""
    width, height = size_wh
    chance = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.options = width, height, "yuv420p", options
        for number in range(frames):
            image = np.zeros((height, width, 3), np.uint8)
            image[:, :, 0] = np.linspace(30, 220, width)
            image[:, :, 1] = np.linspace(220, 30, height)[:, None]
            left = 5 * number % (width - 20)
            image[:, left : left + 20] = (200, 40, 90)
            if noise:
                image = np.clip(image + chance.normal(0, noise, image.shape), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make candidates those of this machine."""

    def used(*found: DecoderCandidate) -> None:
        monkeypatch.setattr(candidates, "candidates_here", lambda: found)

    return used
