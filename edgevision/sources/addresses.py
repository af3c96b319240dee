"""What a source's name means, and how it is written where others can read it."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from edgevision.device.opencv_build import OpenCvBuild
from edgevision.errors import MissingExtraError, SourceError, UsageError
from edgevision.sources.backoff import Backoff
from edgevision.sources.feeds.capture import open_address, open_pipeline
from edgevision.sources.feeds.feed import Feed
from edgevision.sources.feeds.gstreamer import CsiCamera, LaunchFeed
from edgevision.sources.feeds.loop import LoopAddress, LoopFeed
from edgevision.sources.feeds.virtual import VirtualFeed
from edgevision.sources.picture_watch import WatchOptions

LONGEST_NAME = 100
"""Characters of a camera's name: it becomes part of file names and topics."""
NETWORK_SCHEMES = ("rtsp", "rtsps", "http", "https")
EXPECTED = (
    "expected an image, a folder, a video file, a pattern such as 'photos/*.jpg', a .txt list, a camera's index,"
    " rtsp://, rtsps://, http://, https://, csi://0, gst:PIPELINE, loop:VIDEO or demo:"
)


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How long a live source is waited for, and what it may show."""

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 5.0
    """A connection without a picture for so long is given up, and made anew."""
    first_frame_s: float = 15.0
    """Opening fails unless a picture came by then."""
    wait_first: bool = True
    """False: opening returns at once, and a camera that does not answer is tried again as after an outage."""
    give_up_after_s: float | None = None
    """An outage of so long ends the source with an error; None never does."""
    backoff: Backoff = field(default_factory=Backoff)
    watch: WatchOptions = field(default_factory=WatchOptions)
    transport: Literal["tcp", "udp"] = "tcp"
    """What RTSP carries pictures by."""

    def __post_init__(self) -> None:
        for name in ("connect_timeout_s", "read_timeout_s", "first_frame_s"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; expected seconds above 0")


def opener_of(text: str, options: LiveOptions) -> Callable[[], Feed] | None:
    """What opens the feed that a text names; None if the text has no scheme.

    Called again after each outage. Raises `SourceError` for a scheme that is not known or an address that is wrong, and
    `MissingExtraError` where nothing installed can read it.
    """
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", text)
    if match is None:
        return None
    scheme = match[1].lower()
    if scheme in NETWORK_SCHEMES and text[match.end() :].startswith("//"):
        return _network_opener(text, options)
    if scheme == "csi":
        camera = CsiCamera.from_address(text)
        return _pipeline_opener(camera.pipeline("BGR"), camera.pipeline("I420"), options)
    if scheme == "gst":
        pipeline = text[match.end() :].strip()
        if not pipeline:
            raise SourceError(
                "gst: is followed by no pipeline; expected one such as gst:videotestsrc is-live=true"
            )
        bgr = f"{pipeline} ! videoconvert ! video/x-raw,format=BGR"
        return _pipeline_opener(bgr, pipeline, options)
    if scheme == "demo":
        return _demo_opener(text)
    if scheme == "loop":
        return functools.partial(LoopFeed, LoopAddress.from_text(text))
    if text[match.end() :].startswith("//"):
        raise SourceError(f"{match[1]}://... cannot be read; {EXPECTED}")
    return None


def check_name(name: str, what: str) -> None:
    """Raise `UsageError` unless a name can stand in results, file names and logs: printable and not too long."""
    if not name.strip() or not name.isprintable():
        raise UsageError(f"{what} {name[:40]!r}: expected printable characters, without line breaks")
    if len(name) > LONGEST_NAME:
        raise UsageError(
            f"{what} {name[:40]!r}... has {len(name)} characters; expected at most {LONGEST_NAME}"
        )


def played_file(text: str) -> Path | None:
    """The file or folder that ``loop:`` plays; None for an address of another kind. Raises `SourceError`."""
    return LoopAddress.from_text(text).path if text[:5].lower() == "loop:" else None


def public_name(text: str) -> str:
    """An address without user, password and query, in which cameras carry passwords too."""
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        # A pipeline may hold an address as a property.
        return re.sub(r"://[^/@\s\"']*@", "://", text)
    parts = urlsplit(text)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _network_opener(url: str, options: LiveOptions) -> Callable[[], Feed]:
    if importlib.util.find_spec("av") is not None:
        # Here and not at the top: it is an extra.
        from edgevision.sources.feeds.network import NetworkFeed

        return functools.partial(
            NetworkFeed,
            url,
            connect_timeout_s=options.connect_timeout_s,
            read_timeout_s=options.read_timeout_s,
            transport=options.transport,
        )
    if not OpenCvBuild.here().ffmpeg:
        raise MissingExtraError("PyAV", "rtsp", f"reading {urlsplit(url).scheme}://")
    return functools.partial(
        open_address,
        url,
        connect_timeout_s=options.connect_timeout_s,
        read_timeout_s=options.read_timeout_s,
    )


def _pipeline_opener(bgr: str, plain: str, options: LiveOptions) -> Callable[[], Feed]:
    if OpenCvBuild.here().gstreamer:
        return functools.partial(open_pipeline, bgr)
    return functools.partial(
        LaunchFeed,
        plain,
        connect_timeout_s=options.connect_timeout_s,
        read_timeout_s=options.read_timeout_s,
    )


def _demo_opener(text: str) -> Callable[[], Feed]:
    match = re.fullmatch(
        r"demo:(?://)?(?:([1-9]\d{1,3})x([1-9]\d{1,3}))?(?:@([1-9]\d{0,2}))?", text, re.IGNORECASE
    )
    if match is None:
        raise SourceError(f"{text} names no virtual camera; expected demo:, demo:1280x720 or demo:640x480@30")
    size_wh = (int(match[1]), int(match[2])) if match[1] else (640, 480)
    return functools.partial(VirtualFeed, size_wh, float(match[3] or 30))
