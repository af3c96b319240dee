"""A deployment as its file says it."""

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
    "a name of up to 64 letters, digits, blanks and . _ -, the first no blank", r"[\w.-][\w. -]{0,63}"
)
VARIABLE = Text("the name of a variable", r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The model and its engine."""

    bundle: str = field(
        metadata=setting(
            Text("a path", expands=True), "The bundle; relative paths begin at this file's folder."
        )
    )
    engine: str | None = field(
        default=None,
        metadata=setting(
            Choice(ENGINES), "Inference engine; default: the first that is installed.", option="--engine"
        ),
    )
    opening: SessionOptions = field(default_factory=SessionOptions, metadata=group(SessionOptions))
    build: bool = field(
        default=False,
        metadata=setting(
            Flag(),
            "Build the TensorRT engine first if none fits this device; needs an engine of TensorRT.",
            option="--build",
        ),
    )


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """A camera, and what is done with its results."""

    name: str = field(metadata=setting(NAME, "Name in results, on the page and in the log."))
    address: str = field(
        repr=False,
        metadata=setting(
            Text("an address", expands=True),
            "As for `edgevision run`: `0`, `rtsp://`, `http://`, `csi://0`, `gst:`, `demo:`, `loop:FILE`.",
        ),
    )
    threshold: float = field(
        default=PipelineOptions().threshold,
        metadata=setting(Number(0, 1), "Minimum confidence of a detection.", option="--threshold"),
    )
    analytics: AnalyticsOptions = field(default_factory=AnalyticsOptions, metadata=group(AnalyticsOptions))
    sinks: tuple[str, ...] = field(
        default=(), metadata=setting(Texts("names of sinks"), "Where its results go.")
    )
    connection: CameraOptions = field(default_factory=CameraOptions, metadata=group(CameraOptions))
    reopen_after_s: float | None = field(
        default=300.0,
        metadata=setting(
            Number(0, off_at_zero=True),
            "Close and open a camera again after this long without a valid frame; 0: never.",
        ),
    )


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """Where results go."""

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
        default=None, metadata=setting(VARIABLE, "Variable that contains the token that visitors need.")
    )
    token_file: str | None = field(
        default=None,
        metadata=setting(
            Text("a path", expands=True),
            "File whose first line is the token that visitors need.",
            option="--token-file",
        ),
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file."""

    folder: Path
    """Where it lies, and relative paths begin."""
    model: ModelSettings = field(metadata=setting(Table(ModelSettings), "the model"))
    cameras: tuple[CameraSettings, ...] = field(
        metadata=setting(Table(CameraSettings, several=True), "one for each camera", name="camera")
    )
    budgets: PipelineOptions = field(
        default_factory=PipelineOptions, metadata=setting(Table(PipelineOptions), "batches and latency")
    )
    sinks: tuple[SinkSettings, ...] = field(
        default=(), metadata=setting(Table(SinkSettings, several=True), "where results go", name="sink")
    )
    page: PageSettings | None = field(default=None, metadata=setting(Table(PageSettings), "the live page"))
    watchdog: WatchdogOptions = field(
        default_factory=WatchdogOptions, metadata=setting(Table(WatchdogOptions), "when it counts as stuck")
    )

    def path(self, text: str) -> Path:
        """A path of the file as one from anywhere."""
        return self.folder / Path(text).expanduser()
