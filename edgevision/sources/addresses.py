"""Parser of all forms of source addresses.

A new kind of camera is one entry of `SCHEMES` and one file in `feeds/`.
"""

from __future__ import annotations

import functools
import glob
import importlib.util
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from edgevision.device.facts import l4t_version
from edgevision.device.opencv_build import OpenCvBuild
from edgevision.errors import MissingExtraError, SourceError, UsageError
from edgevision.sources.feeds import loop
from edgevision.sources.feeds.capture import open_address, open_pipeline
from edgevision.sources.feeds.decoders.candidates import plugin_problem
from edgevision.sources.feeds.feed import Feed
from edgevision.sources.feeds.gstreamer import CsiCamera, LaunchFeed
from edgevision.sources.feeds.loop import LoopAddress, LoopFeed
from edgevision.sources.feeds.synthetic import SyntheticFeed
from edgevision.sources.feeds.v4l2 import DeviceOptions, parse_device
from edgevision.sources.options import CameraOptions

log = logging.getLogger(__name__)

LONGEST_NAME = 100
"""Maximum length of a camera's name in characters; it becomes part of file names and topics."""

_DEVICE = re.compile(r"(?:/dev/video)?\d")

FeedFactory = Callable[[], Feed]
"""Opens a feed; called again after each outage."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """One kind of live source, chosen by the text before the first colon of its address."""

    names: tuple[str, ...]
    example: str
    """Example for error messages."""
    feed_factory: Callable[[str, CameraOptions], FeedFactory]
    """Raises `SourceError` for a wrong address, `MissingExtraError` if no installed library can read it."""
    needs_slashes: bool = False
    """The scheme requires ``//`` after the colon."""
    has_decoder: bool = False
    """Its streams may be decoded in hardware (`CameraOptions.decoder`)."""
    path: re.Pattern[str] | None = None
    """Splits an address into the text before its path, the path, and the text after it. None: it has no path."""

    def parts(self, address: str) -> tuple[str, str, str] | None:
        """The text before the path, the path, and the text after it; None if the address contains no path."""
        found = self.path and self.path.fullmatch(address)
        return (found[1], found[2], found[3] or "") if found and found[2] else None


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """A parsed address of a source."""

    text: str
    kind: Literal["device", "live", "http", "pattern", "path"]
    """A local camera; a live source with a scheme; an http address, which may be a stream or a file; a shell pattern of
    files; a file or folder.
    """
    scheme: Scheme | None = None
    path: Path | None = None
    """The file or folder in the address; with ``loop:``, the one that is played."""
    device: tuple[int, DeviceOptions] | None = None
    """Index and mode of a local camera."""

    @classmethod
    def parse(cls, text: str | Path) -> SourceAddress:
        """Parse an address; a `Path` is always a file or folder. Nothing is opened.

        Raises `SourceError` for an empty address, an unknown scheme, or a wrong option of a local camera.
        """
        address = str(text)
        if not address.strip():
            raise SourceError(f"the address of a source is empty; {EXPECTED}")
        if isinstance(text, str):
            if _DEVICE.match(address) and (device := parse_device(address)) is not None:
                return cls(address, "device", device=device)
            scheme = _scheme_of(address)
            if scheme is not None:
                parts = scheme.parts(address)
                http = address.lower().startswith("http")
                return cls(address, "http" if http else "live", scheme, Path(parts[1]) if parts else None)
        # An existing file whose name has the characters of a pattern is not a pattern.
        if glob.has_magic(address) and not os.path.exists(address):  # noqa: PTH110  # the text may not be a valid path
            return cls(address, "pattern")
        return cls(address, "path", path=Path(address).expanduser())

    def within(self, folder: Path) -> SourceAddress:
        """The same source with its relative path, if any, resolved against `folder`."""
        if self.kind in ("pattern", "path"):
            return self.parse(str(folder / Path(self.text).expanduser()))
        parts = self.scheme.parts(self.text) if self.scheme else None
        return self.parse(f"{parts[0]}{folder / parts[1]}{parts[2]}") if parts else self

    def feed_factory(self, options: CameraOptions) -> FeedFactory:
        """A function that opens the feed of a live source.

        Raises `SourceError` for a wrong address, `MissingExtraError` if no installed library can read it.
        """
        assert self.scheme is not None, "only live sources have a feed"
        return self.scheme.feed_factory(self.text, options)


def check_name(name: str, what: str) -> None:
    """Raise `UsageError` unless a name fits into results, file names and logs: printable and at most 100 characters."""
    if not name.strip() or not name.isprintable():
        raise UsageError(f"{what} {name[:40]!r}: expected printable characters, without line breaks")
    if len(name) > LONGEST_NAME:
        raise UsageError(
            f"{what} {name[:40]!r}... has {len(name)} characters; expected at most {LONGEST_NAME}"
        )


def public_name(text: str) -> str:
    """An address without user, password and query: cameras carry credentials in all three."""
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        # A pipeline may contain an address as a property.
        return re.sub(r"://[^/@\s\"']*@", "://", text)
    parts = urlsplit(text)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _network(url: str, options: CameraOptions) -> FeedFactory:
    timeouts = {"connect_timeout_s": options.connect_timeout_s, "read_timeout_s": options.read_timeout_s}
    if importlib.util.find_spec("av") is not None:
        # imported here because it belongs to an extra
        from edgevision.sources.feeds.network import NetworkFeed

        return functools.partial(
            NetworkFeed, url, transport=options.transport, decoder=options.decoder, **timeouts
        )
    if options.decoder == "hardware":
        raise MissingExtraError("PyAV", "rtsp", "a hardware decoder")
    if not OpenCvBuild.here().ffmpeg:
        raise MissingExtraError("PyAV", "rtsp", f"reading {urlsplit(url).scheme}://")
    return functools.partial(open_address, url, **timeouts)


def _csi(text: str, options: CameraOptions) -> FeedFactory:
    camera = CsiCamera.from_address(text)
    if l4t_version() is not None and (reason := plugin_problem()) is not None:
        log.warning("%s: %s", text, reason)
    return _pipeline(camera.pipeline("BGR"), camera.pipeline("I420"), options)


def _gst(text: str, options: CameraOptions) -> FeedFactory:
    pipeline = text.partition(":")[2].strip()
    if not pipeline:
        raise SourceError("gst: has no pipeline; expected for example gst:videotestsrc is-live=true")
    return _pipeline(f"{pipeline} ! videoconvert ! video/x-raw,format=BGR", pipeline, options)


def _pipeline(bgr: str, plain: str, options: CameraOptions) -> FeedFactory:
    if OpenCvBuild.here().gstreamer:
        return functools.partial(open_pipeline, bgr)
    return functools.partial(
        LaunchFeed,
        plain,
        connect_timeout_s=options.connect_timeout_s,
        read_timeout_s=options.read_timeout_s,
    )


def _loop(text: str, _: CameraOptions) -> FeedFactory:
    return functools.partial(LoopFeed, LoopAddress.from_text(text))


def _demo(text: str, _: CameraOptions) -> FeedFactory:
    match = re.fullmatch(
        r"demo:(?://)?(?:([1-9]\d{1,3})x([1-9]\d{1,3}))?(?:@([1-9]\d{0,2}))?", text, re.IGNORECASE
    )
    if match is None:
        raise SourceError(
            f"{text} is not a synthetic camera; expected demo:, demo:1280x720 or demo:640x480@30"
        )
    size_wh = (int(match[1]), int(match[2])) if match[1] else (640, 480)
    return functools.partial(SyntheticFeed, size_wh, float(match[3] or 30))


def _scheme_of(address: str) -> Scheme | None:
    """The scheme of an address; None for a file. Raises `SourceError` for an unknown scheme with ``//``."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):(//)?", address)
    if match is None:
        return None
    for scheme in SCHEMES:
        if match[1].lower() in scheme.names and (match[2] or not scheme.needs_slashes):
            return scheme
    if match[2]:
        raise SourceError(f"{match[1]}:// is not a known scheme; {EXPECTED}")
    return None


SCHEMES = (
    Scheme(
        ("rtsp", "rtsps", "http", "https"),
        "rtsp://, rtsps://, http://, https://",
        _network,
        needs_slashes=True,
        has_decoder=True,
    ),
    Scheme(("csi",), "csi://0", _csi),
    Scheme(("gst",), "gst:PIPELINE", _gst),
    Scheme(("loop",), "loop:VIDEO", _loop, path=loop.FORM),
    Scheme(("demo",), "demo:", _demo),
)
EXPECTED = (
    "expected an image, a folder, a video file, a pattern such as 'photos/*.jpg', a .txt list, a camera index, "
    + " or ".join(", ".join(scheme.example for scheme in SCHEMES).rsplit(", ", 1))
)
