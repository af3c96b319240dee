"""How a live source is connected, and what of it is withheld."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgevision.errors import UsageError
from edgevision.sources.backoff import Backoff
from edgevision.sources.freeze import FreezeOptions


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """Timeouts, reconnection and freeze detection of a live source."""

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 5.0
    """A connection that delivers no frame for this long is closed and opened again."""
    first_frame_s: float = 15.0
    """Opening fails if no frame arrives within this time."""
    wait_first: bool = True
    """False: opening returns at once, and a camera that does not answer is retried as after an outage."""
    give_up_after_s: float | None = None
    """An outage of this length ends the source with an error. None: never."""
    backoff: Backoff = field(default_factory=Backoff)
    freeze: FreezeOptions = field(default_factory=FreezeOptions)
    transport: Literal["tcp", "udp"] = "tcp"
    """RTSP transport protocol."""

    def __post_init__(self) -> None:
        for name in ("connect_timeout_s", "read_timeout_s", "first_frame_s"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; expected seconds above 0")
