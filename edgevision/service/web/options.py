"""Options of the live page: address, access and limits."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgevision.errors import UsageError
from edgevision.service.watchdog import WatchdogOptions
from edgevision.settings.kinds import Number, Text, Texts
from edgevision.settings.setting import setting

TOKEN_VARIABLE = "EDGEVISION_TOKEN"
SHORTEST_TOKEN = 16
"""Minimum length in characters; at the permitted rate, guessing such a token takes years."""


@dataclass(frozen=True, slots=True)
class PageOptions:
    """Options of the live page."""

    host: str = field(
        default="127.0.0.1",
        metadata=setting(
            Text("an address of this machine"),
            "Address to listen on; 0.0.0.0: all interfaces.",
            option="--host",
        ),
    )
    port: int = field(
        default=8080,
        metadata=setting(
            Number(0, 65535, whole=True), "Port to listen on; 0: any free one.", option="--port"
        ),
    )
    token: str | None = None
    """Token for visitors. None: no token if only this machine can connect, otherwise a random one (`PageServer.token`).
    """
    allowed_hosts: tuple[str, ...] = field(
        default=(),
        metadata=setting(
            Texts("names of hosts"),
            "Host names under which a reverse proxy serves the page.",
            option="--allow-host",
            metavar="NAME",
        ),
    )
    max_clients: int = field(
        default=8,
        metadata=setting(
            Number(1, 1000, whole=True),
            "Maximum number of result connections, and of video streams per camera; further ones get 503.",
            option="--max-clients",
        ),
    )
    video_per_s: float = field(
        default=15.0,
        metadata=setting(Number(0, 60, least_open=True), "Maximum video frames per second for each camera."),
    )
    video_width: int = 960
    """Width of video frames in pixels, unless the viewer requests another."""
    jpeg_quality: int = 80
    watchdog: WatchdogOptions = field(default_factory=WatchdogOptions)
    """Limits after which the engine counts as hanging; ``/health`` and the watchdog should agree."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port is {self.port}; expected 0 (any free port) to 65535")
        if self.max_clients < 1:
            raise UsageError(f"max_clients is {self.max_clients}; expected 1 or more")
        if not 0 < self.video_per_s <= 60:
            raise UsageError(f"video_per_s is {self.video_per_s}; expected more than 0 and at most 60")
        if not 1 <= self.jpeg_quality <= 100:
            raise UsageError(f"jpeg_quality is {self.jpeg_quality}; expected 1 to 100")
        if self.token is not None:
            _check_token(self.token)

    @property
    def needs_token(self) -> bool:
        """True if other machines can reach the page, or if a token was given."""
        return self.token is not None or not is_loopback(self.host) or bool(self.allowed_hosts)


def is_loopback(host: str) -> bool:
    """True for addresses, and the name localhost, that only this machine can reach."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def read_token(file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token in the first line of `file`, else in the variable `EDGEVISION_TOKEN`; None if neither is given.

    Raises `UsageError` for a file that cannot be read or that others can read, and for a short token.
    """
    if file is None:
        token = environment.get(TOKEN_VARIABLE)
        return None if token is None else _check_token(token.strip())
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            line = opened.readline(4096)
    except OSError as error:
        raise UsageError(f"cannot read the token from {file}: {error.strerror}") from error
    if mode & 0o004:
        raise UsageError(f"every user can read {file}, which contains the token; run: chmod 600 {file}")
    try:
        return _check_token(line.decode("ascii").strip())
    except UnicodeDecodeError as error:
        raise UsageError(f"the token in {file} has non-ASCII characters; expected printable ASCII") from error


def _check_token(token: str) -> str:
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"the token has {len(token)} characters; expected {SHORTEST_TOKEN} or more, printable ASCII without"
            ' spaces, for example from: python3 -c "import secrets; print(secrets.token_urlsafe())"'
        )
    return token
