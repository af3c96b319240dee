"""Detection of an HTTP address's content: an image, a finite file, or a live stream, by the response."""

from __future__ import annotations

import base64
import logging
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from edgevision.errors import SourceError
from edgevision.sources.image_files import IMAGE_SUFFIXES

LOG = logging.getLogger(__name__)

Kind = Literal["image", "file", "live"]

FILE_SUFFIXES = frozenset((".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".mpeg", ".webm", ".wmv"))
"""Containers that are files even if the server reports no length."""
PLAYLIST_SUFFIXES = frozenset((".m3u8", ".m3u"))
LARGEST_IMAGE_BYTES = 256 << 20
SPARE_BYTES = 256 << 20
"""Disk space that a download leaves free."""
_HEAD_BYTES = 64 << 10
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class HttpContent:
    """Content of an HTTP response."""

    kind: Kind
    ranges: bool = False
    """The server supports range requests, so that an index at the end of the file can be read."""
    length: int | None = None


def probe(url: str, timeout_s: float) -> HttpContent:
    """Request the address; a playlist is read to check for its end. Raises `SourceError` without an answer."""
    with _get(url, timeout_s, {"Range": "bytes=0-"}) as answer:
        kind = (answer.headers.get_content_type() or "").lower()
        length = _length(answer)
        ranges = answer.status == 206 or answer.headers.get("Accept-Ranges", "").lower() == "bytes"
        suffix = _suffix(url)
        if kind.startswith("multipart/"):
            return HttpContent("live")
        if "mpegurl" in kind or suffix in PLAYLIST_SUFFIXES:
            return HttpContent(_kind_of_playlist(url, answer.read(_HEAD_BYTES), timeout_s))
        if kind.startswith("image/") or (suffix in IMAGE_SUFFIXES and not kind.startswith("video/")):
            return HttpContent("image", ranges, length)
        if length is not None or suffix in FILE_SUFFIXES:
            return HttpContent("file", ranges, length)
        return HttpContent("live")


def may_be_file(url: str) -> bool:
    """True if an address has the suffix of an image, a video file or a playlist."""
    return _suffix(url) in FILE_SUFFIXES | PLAYLIST_SUFFIXES | IMAGE_SUFFIXES


def is_playlist(url: str) -> bool:
    """True if an address has the suffix of an HLS playlist."""
    return _suffix(url) in PLAYLIST_SUFFIXES


def download(url: str, timeout_s: float, *, limit: int | None = None) -> Path:
    """Download into a temporary file, which the caller removes; raises `SourceError` and leaves no file.

    `limit` is the maximum size in bytes; None: free disk space minus `SPARE_BYTES`.
    """
    with tempfile.NamedTemporaryFile(prefix="edgevision-", suffix=_suffix(url), delete=False) as file:
        path = Path(file.name)
        try:
            with _get(url, timeout_s, {}) as answer:
                length = _length(answer)
                room = shutil.disk_usage(path.parent).free - SPARE_BYTES
                most = room if limit is None else min(limit, room)
                if length is not None and length > most:
                    raise SourceError(
                        f"the file has {length:,} bytes; expected at most {most:,} in {path.parent}"
                    )
                taken = 0
                for piece in _pieces(answer):
                    taken += len(piece)
                    if taken > most:
                        raise SourceError(
                            f"the file has more than {most:,} bytes; expected at most that size"
                        )
                    file.write(piece)
                if length is not None and taken < length:
                    raise SourceError(f"the server ended after {taken:,} of {length:,} bytes")
        except OSError as error:
            path.unlink(missing_ok=True)
            raise SourceError(f"cannot download to {path.parent}: {error.strerror or error}") from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return path


def _pieces(answer: HTTPResponse) -> Iterator[bytes]:
    while piece := answer.read(_PIECE_BYTES):
        yield piece


def _kind_of_playlist(url: str, text: bytes, timeout_s: float) -> Kind:
    """By RFC 8216, a media playlist with EXT-X-ENDLIST is complete; a master playlist lists media playlists."""
    lines = [line.strip() for line in text.decode(errors="replace").splitlines()]
    if any(line.startswith("#EXT-X-STREAM-INF") for line in lines):
        variant = next((line for line in lines if line and not line.startswith("#")), None)
        if variant is None:
            return "live"
        address = urljoin(url, variant)
        with _get(address, timeout_s, {}) as answer:
            text = answer.read(_HEAD_BYTES * 16)
    return "file" if b"#EXT-X-ENDLIST" in text else "live"


@contextmanager
def _get(url: str, timeout_s: float, headers: dict[str, str]) -> Iterator[HTTPResponse]:
    """An open response; user and password of the address are sent as basic authentication. Raises `SourceError`."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)), headers=headers)
    request.add_header("User-Agent", "edgevision")
    if at:
        token = base64.b64encode(unquote(user).encode()).decode()
        # Not sent to another host after a redirect.
        request.add_unredirected_header("Authorization", f"Basic {token}")
    try:
        answer = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            raise SourceError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise SourceError(
            f"no answer from the server: {getattr(reason, 'strerror', None) or reason}"
        ) from error
    with answer:
        try:
            yield answer
        except (TimeoutError, HTTPException) as error:
            raise SourceError(f"the server stopped answering: {error or type(error).__name__}") from error


def _length(answer: HTTPResponse) -> int | None:
    """Length of the whole content; None if the server does not report it."""
    text = answer.headers.get("Content-Range", "").rpartition("/")[2] or answer.headers.get(
        "Content-Length", ""
    )
    return int(text) if text.isdigit() else None


def _suffix(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
