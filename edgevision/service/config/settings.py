"""A deployment as its file says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from edgevision.analytics.places import PlaceText
from edgevision.contract.spec import Precision
from edgevision.engines.opening import ENGINES
from edgevision.pipeline.options import PipelineOptions
from edgevision.service.config.places_kind import Places
from edgevision.service.watchdog import WatchdogOptions
from edgevision.service.web.options import PageOptions
from edgevision.settings.kinds import Choice, Flag, Number, Text, Texts
from edgevision.settings.setting import Table, setting
from edgevision.sinks.addresses import SinkOptions
from edgevision.sources.options import CameraOptions

NAME = Text(
    "a name of up to 64 letters, digits, blanks and . _ -, the first no blank", r"[\w.-][\w. -]{0,63}"
)
VARIABLE = Text("the name of a variable", r"[A-Za-z_][A-Za-z0-9_]*")
SHARE = Number(0, 1)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The model, and what runs it."""

    bundle: str = field(
        metadata=setting(
            Text("a path", expands=True), "The bundle; relative paths begin at this file's folder."
        )
    )
    engine: str | None = field(
        default=None,
        metadata=setting(
            Choice(ENGINES),
            "Inference engine; default: the first that is installed.",
            option="--engine",
        ),
    )
    graph: Precision | None = field(
        default=None,
        metadata=setting(
            Choice(get_args(Precision)),
            "Which of the bundle's graphs; without it the fastest that was verified and measured here.",
        ),
    )
    iou: float | None = field(
        default=None,
        metadata=setting(
            Number(0, 1, least_open=True, most_open=True),
            "IoU threshold of NMS; default: as exported.",
            option="--iou",
        ),
    )
    build: bool = field(
        default=False,
        metadata=setting(
            Flag(),
            "Build the TensorRT engine first if none fits this device; needs an engine of TensorRT.",
            option="--build",
        ),
    )
    allow_fallback: bool = field(
        default=False,
        metadata=setting(
            Flag(),
            "Let the CPU run what ONNX Runtime's GPU provider does not support.",
            option="--allow-fallback",
        ),
    )
    force: bool = field(
        default=False, metadata=setting(Flag(), "Run a graph that was found to be answered wrongly.")
    )


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """How long frames may take."""

    max_age_ms: float | None = field(
        default=None,
        metadata=setting(
            Number(0, least_open=True),
            "Drop live frames whose result would be older than this; default: none is dropped for its age.",
            option="--max-age-ms",
            metavar="MS",
        ),
    )
    batch: int | Literal["auto"] = field(
        default="auto",
        metadata=setting(
            Number(1, 1024, whole=True, word="auto"),
            "Batch size; auto: measured when the engine is opened.",
            option="--batch",
        ),
    )
    fill_ms: float = field(
        default=PipelineOptions().fill_ms,
        metadata=setting(
            Number(0, 1000),
            "Maximum time a partial batch waits for more frames.",
            option="--fill-ms",
            metavar="MS",
        ),
    )


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """A camera, and what is done with its results."""

    name: str = field(metadata=setting(NAME, "What it is called in results, on the page and in the log."))
    address: str = field(
        repr=False,
        metadata=setting(
            Text("an address", expands=True),
            "What `edgevision run` takes: `0`, `rtsp://`, `http://`, `csi://0`, `gst:`, `demo:`, `loop:FILE`.",
        ),
    )
    threshold: float = field(
        default=PipelineOptions().threshold,
        metadata=setting(
            SHARE,
            "Minimum confidence of a detection.",
            option="--threshold",
        ),
    )
    track: bool = field(
        default=False,
        metadata=setting(
            Flag(),
            "Track objects: give detections persistent identities.",
            option="--track",
        ),
    )
    only: tuple[str, ...] = field(
        default=(),
        metadata=setting(
            Texts("names of classes"),
            "Keep only these classes.",
            option="--only",
            metavar="CLASS,...",
        ),
    )
    min_area: float = field(
        default=0.0,
        metadata=setting(
            SHARE,
            "Drop boxes that cover a smaller share of the frame.",
            option="--min-area",
        ),
    )
    max_area: float = field(
        default=1.0,
        metadata=setting(
            SHARE,
            "Drop boxes that cover a larger share of the frame.",
            option="--max-area",
        ),
    )
    lines: tuple[PlaceText, ...] = field(
        default=(),
        metadata=setting(
            Places(zones=False),
            "Count objects that cross the line; in pixels, or in shares of the frame if no number exceeds 1.",
            option="--line",
            metavar="[NAME=]X1,Y1,X2,Y2",
        ),
    )
    zones: tuple[PlaceText, ...] = field(
        default=(),
        metadata=setting(
            Places(zones=True),
            "Count objects inside the zone, and how long they stay.",
            option="--zone",
            metavar="[NAME=]X,Y,X,Y,X,Y...",
        ),
    )
    sinks: tuple[str, ...] = field(
        default=(), metadata=setting(Texts("names of sinks"), "Where its results go.")
    )
    transport: Literal["tcp", "udp"] = field(
        default=CameraOptions().transport,
        metadata=setting(
            Choice(("tcp", "udp")),
            "RTSP transport protocol.",
            option="--rtsp-transport",
        ),
    )
    freeze_after_s: float = field(
        default=CameraOptions().freeze.freeze_after_s or 0.0,
        metadata=setting(
            Number(0),
            "Drop frames once the image has not changed for so many seconds; 0 disables.",
            option="--freeze-after",
            metavar="SECONDS",
        ),
    )
    reopen_after_s: float = field(
        default=300.0,
        metadata=setting(
            Number(0), "Close and open a camera that has given no good picture for so long; 0: never."
        ),
    )
    give_up_after_s: float | None = field(
        default=None,
        metadata=setting(
            Number(0, least_open=True),
            "Give a camera up after an outage of so many seconds; default: never.",
            option="--give-up-after",
            metavar="SECONDS",
        ),
    )


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """Where results go."""

    name: str = field(metadata=setting(NAME, "What cameras call it."))
    address: str = field(
        repr=False,
        metadata=setting(
            Text("an address", expands=True),
            "`FILE.jsonl`, `FILE.csv`, `mqtt://host/topic`, `https://host/path`, or `events:FOLDER`.",
        ),
    )
    every_result: bool | None = field(
        default=None,
        metadata=setting(
            Flag(),
            "All results, or only those with events; without it MQTT gets all, webhooks those with events.",
        ),
    )
    capacity: int = field(
        default=SinkOptions().capacity,
        metadata=setting(
            Number(1, 1_000_000, whole=True), "Results that may wait; more are lost, and counted."
        ),
    )
    token: str | None = field(
        default=None,
        repr=False,
        metadata=setting(Text("a text", expands=True), "Webhooks: sent as the bearer token."),
    )
    secret: str | None = field(
        default=None,
        repr=False,
        metadata=setting(Text("a text", expands=True), "Webhooks: what messages are signed with."),
    )
    keep: int = field(
        default=SinkOptions().keep,
        metadata=setting(
            Number(1, whole=True),
            "Maximum number of event images; the oldest are deleted first.",
            option="--keep",
        ),
    )
    max_mib: float = field(
        default=SinkOptions().max_mib,
        metadata=setting(
            Number(0, least_open=True),
            "Maximum disk space of event images, in MiB.",
            option="--keep-mib",
        ),
    )
    max_days: float = field(
        default=SinkOptions().max_days,
        metadata=setting(
            Number(0, least_open=True),
            "Delete event images after so many days.",
            option="--keep-days",
        ),
    )
    classes: tuple[str, ...] = field(
        default=(),
        metadata=setting(Texts("names of classes"), "`events:`: pictures of these detections are kept, too."),
    )
    gap_s: float = field(
        default=SinkOptions().gap_s,
        metadata=setting(Number(0), "`events:`: least time between two such pictures."),
    )


@dataclass(frozen=True, slots=True)
class PageSettings:
    """The live page; without this table there is none."""

    host: str = field(
        default=PageOptions().host,
        metadata=setting(
            Text("an address of this machine"),
            "Address to listen on; 0.0.0.0: all interfaces.",
            option="--host",
        ),
    )
    port: int = field(
        default=PageOptions().port,
        metadata=setting(
            Number(0, 65535, whole=True),
            "Port to listen on; 0: any free one.",
            option="--port",
        ),
    )
    token_env: str | None = field(
        default=None,
        metadata=setting(VARIABLE, "The variable that holds the token which visitors must know."),
    )
    token_file: str | None = field(
        default=None,
        metadata=setting(
            Text("a path", expands=True),
            "File whose first line is the token that visitors need.",
            option="--token-file",
        ),
    )
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
        default=PageOptions().max_clients,
        metadata=setting(
            Number(1, 1000, whole=True),
            "Maximum number of visitors, and of viewers per camera.",
            option="--max-clients",
        ),
    )
    video_per_s: float = field(
        default=PageOptions().video_per_s,
        metadata=setting(Number(0, 60, least_open=True), "Most pictures a second and camera that are sent."),
    )


@dataclass(frozen=True, slots=True)
class WatchdogSettings:
    """When the service counts as stuck, ends and is started anew."""

    stuck_after_s: float = field(
        default=WatchdogOptions().stuck_after_s,
        metadata=setting(Number(1), "A call of the engine, or a standstill of the pipeline, of so long, ..."),
    )
    stuck_factor: float = field(
        default=WatchdogOptions().stuck_factor,
        metadata=setting(Number(2), "... and of so many times what a call takes as a rule."),
    )
    answer_within_s: float = field(
        default=WatchdogOptions().answer_within_s,
        metadata=setting(Number(1), "The first call, in which some engines compile or build, takes longer."),
    )
    open_within_s: float = field(
        default=WatchdogOptions().open_within_s,
        metadata=setting(Number(1), "Opening the engine takes longer, building it included."),
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
    budgets: BudgetSettings = field(
        default_factory=BudgetSettings, metadata=setting(Table(BudgetSettings), "how long frames may take")
    )
    sinks: tuple[SinkSettings, ...] = field(
        default=(), metadata=setting(Table(SinkSettings, several=True), "where results go", name="sink")
    )
    page: PageSettings | None = field(default=None, metadata=setting(Table(PageSettings), "the live page"))
    watchdog: WatchdogSettings = field(
        default_factory=WatchdogSettings, metadata=setting(Table(WatchdogSettings), "when it counts as stuck")
    )

    def path(self, text: str) -> Path:
        """A path of the file as one from anywhere."""
        return self.folder / Path(text).expanduser()
