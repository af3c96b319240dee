"""Settings of a deployment file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgevision.analytics.options import AnalyticsOptions
from edgevision.contract.session import SessionOptions
from edgevision.engines.opening import ENGINES
from edgevision.pipeline.options import PipelineOptions
from edgevision.service.watchdog import WatchdogOptions
from edgevision.service.web.options import PageOptions
from edgevision.settings.kinds import Choice, Flag, Number, Text, Texts
from edgevision.settings.setting import Table, group, setting
from edgevision.sinks.addresses import SinkOptions
from edgevision.sources.options import CameraOptions

NAME = Text(
    "a name of up to 64 letters, digits, spaces and . _ -, not starting with a space", r"[\w.-][\w. -]{0,63}"
)
VARIABLE = Text("the name of a variable", r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The model and its engine."""

    bundle: str = field(
        metadata=setting(
            Text("a path", expands=True), "Path of the bundle; relative paths start at this file's folder."
        )
    )
    engine: str | None = field(
        default=None,
        metadata=setting(
            Choice(ENGINES),
            "Inference engine; default: the fastest that `edgevision bench` stored, else the first verified one.",
            option="--engine",
        ),
    )
    opening: SessionOptions = field(default_factory=SessionOptions, metadata=group(SessionOptions))
    build: bool = field(
        default=False,
        metadata=setting(
            Flag(),
            "Build the TensorRT engine first if none fits this device; requires the engine tensorrt or tensorrt-rtx.",
            option="--build",
        ),
    )


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """A camera and the processing of its results."""

    name: str = field(metadata=setting(NAME, "Name in results, on the page and in the log."))
    address: str = field(
        repr=False,
        metadata=setting(
            Text("an address", expands=True),
            "Source, as for `edgevision run`: `0`, `rtsp://`, `http://`, `csi://0`, `gst:`, `demo:`, `loop:FILE`.",
        ),
    )
    threshold: float | None = field(
        default=None,
        metadata=setting(
            Number(0, 1),
            "Minimum confidence of a detection; default: the bundle's, for each class, or 0.25 without one.",
            option="--threshold",
        ),
    )
    analytics: AnalyticsOptions = field(default_factory=AnalyticsOptions, metadata=group(AnalyticsOptions))
    sinks: tuple[str, ...] = field(
        default=(), metadata=setting(Texts("names of sinks"), "Sinks for its results.")
    )
    connection: CameraOptions = field(default_factory=CameraOptions, metadata=group(CameraOptions))
    reopen_after_s: float | None = field(
        default=300.0,
        metadata=setting(
            Number(0, off_at_zero=True),
            "Reopen a camera after this long without a valid frame; 0: never.",
        ),
    )


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """A sink for results."""

    name: str = field(metadata=setting(NAME, "Name that cameras refer to."))
    address: str = field(
        repr=False,
        metadata=setting(
            Text("an address", expands=True),
            "`FILE.jsonl`, `FILE.csv`, `mqtt://host/topic`, `https://host/path`, or `events:FOLDER`.",
        ),
    )
    token: str | None = field(
        default=None,
        repr=False,
        metadata=setting(Text("a text", expands=True), "Webhooks: bearer token."),
    )
    secret: str | None = field(
        default=None,
        repr=False,
        metadata=setting(Text("a text", expands=True), "Webhooks: key that signs messages."),
    )
    options: SinkOptions = field(default_factory=SinkOptions, metadata=group(SinkOptions))


@dataclass(frozen=True, slots=True)
class PageSettings:
    """The live page; without this table there is none."""

    options: PageOptions = field(default_factory=PageOptions, metadata=group(PageOptions))
    token_env: str | None = field(
        default=None, metadata=setting(VARIABLE, "Environment variable with the token for visitors.")
    )
    token_file: str | None = field(
        default=None,
        metadata=setting(
            Text("a path", expands=True),
            "File whose first line is the token for visitors.",
            option="--token-file",
        ),
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file."""

    folder: Path
    """Folder of the file, where relative paths start."""
    model: ModelSettings = field(metadata=setting(Table(ModelSettings), "the model"))
    cameras: tuple[CameraSettings, ...] = field(
        metadata=setting(Table(CameraSettings, several=True), "one for each camera", name="camera")
    )
    budgets: PipelineOptions = field(
        default_factory=PipelineOptions, metadata=setting(Table(PipelineOptions), "batches and latency")
    )
    sinks: tuple[SinkSettings, ...] = field(
        default=(), metadata=setting(Table(SinkSettings, several=True), "sinks for results", name="sink")
    )
    page: PageSettings | None = field(default=None, metadata=setting(Table(PageSettings), "the live page"))
    watchdog: WatchdogOptions = field(
        default_factory=WatchdogOptions, metadata=setting(Table(WatchdogOptions), "limits for a stuck engine")
    )

    def path(self, text: str) -> Path:
        """A path in the file, relative to the file's folder."""
        return self.folder / Path(text).expanduser()
