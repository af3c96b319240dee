"""Options of live sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgevision.errors import UsageError
from edgevision.settings.kinds import Choice, Number
from edgevision.settings.setting import group, setting
from edgevision.sources.backoff import Backoff
from edgevision.sources.freeze import FreezeOptions

DecoderSetting = Literal["auto", "software", "hardware"]


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """Timeouts, reconnection and freeze detection of a live source, and the decoder of streams and video files."""

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 5.0
    """A connection without a frame for this long is closed and opened again."""
    first_frame_s: float = 15.0
    """Opening fails if no frame arrives within this time."""
    wait_first: bool = True
    """False: opening returns at once, and an unreachable camera is retried as after an outage."""
    outage_timeout_s: float | None = field(
        default=None,
        metadata=setting(
            Number(0, least_open=True),
            "End the source with an error after an outage of this length; default: never.",
            option="--outage-timeout",
            metavar="SECONDS",
        ),
    )
    backoff: Backoff = field(default_factory=Backoff)
    freeze: FreezeOptions = field(default_factory=FreezeOptions, metadata=group(FreezeOptions))
    transport: Literal["tcp", "udp"] = field(
        default="tcp",
        metadata=setting(Choice(("tcp", "udp")), "RTSP transport protocol.", option="--rtsp-transport"),
    )

    decoder: DecoderSetting = field(
        default="auto",
        metadata=setting(
            Choice(("auto", "software", "hardware")),
            "Decoder of H.264 and H.265. auto: hardware if a probe finds it correct and faster than software.",
            option="--decoder",
        ),
    )

    def __post_init__(self) -> None:
        for name in ("connect_timeout_s", "read_timeout_s", "first_frame_s"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; expected seconds above 0")
