"""A deployment as its file says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from edgevision.analytics.places import PlaceText
from edgevision.contract.spec import Precision
from edgevision.engines.opening import ENGINES
from edgevision.service.config.kinds import Choice, Flag, Number, Places, Text, Texts
from edgevision.service.config.schema import Table, says
from edgevision.service.watchdog import WatchdogOptions
from edgevision.sinks.addresses import SinkOptions

NAME = Text(
    "a name of up to 64 letters, digits, blanks and . _ -, the first no blank", r"[\w.-][\w. -]{0,63}"
)
VARIABLE = Text("the name of a variable", r"[A-Za-z_][A-Za-z0-9_]*")
SHARE = Number(0, 1)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The model, and what runs it."""

    bundle: str = field(
        metadata=says(Text("a path", expands=True), "The bundle; relative paths begin at this file's folder.")
    )
    engine: str | None = field(
        default=None,
        metadata=says(Choice(ENGINES), "What runs it; without it the first that is installed."),
    )
    graph: Precision | None = field(
        default=None,
        metadata=says(
            Choice(get_args(Precision)),
            "Which of the bundle's graphs; without it the fastest that was verified and measured here.",
        ),
    )
    iou: float | None = field(
        default=None,
        metadata=says(
            Number(0, 1, least_open=True, most_open=True),
            "Suppress boxes that overlap a better one by more; without it as exported.",
        ),
    )
    rebuild: bool = field(
        default=False,
        metadata=says(Flag(), "Build the TensorRT engine first if none fits this device; needs `engine`."),
    )
    allow_fallback: bool = field(
        default=False,
        metadata=says(Flag(), "Let the CPU run what ONNX Runtime's GPU provider does not take."),
    )
    force: bool = field(
        default=False, metadata=says(Flag(), "Run a graph that was found to be answered wrongly.")
    )


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """How long frames may take."""

    max_age_ms: float | None = field(
        default=None,
        metadata=says(
            Number(0, least_open=True),
            "Leave out frames whose result would be older; without it none is left out for that.",
        ),
    )
    batch: int | Literal["auto"] = field(
        default="auto",
        metadata=says(
            Number(1, 1024, whole=True, word="auto"),
            "Frames a call; auto: measured when the engine is opened.",
        ),
    )
    fill_ms: float = field(
        default=5.0,
        metadata=says(Number(0, 1000), "How long a batch waits for frames of other cameras."),
    )


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """A camera, and what is done with its results."""

    name: str = field(metadata=says(NAME, "What it is called in results, on the page and in the log."))
    address: str = field(
        repr=False,
        metadata=says(
            Text("an address", expands=True),
            "What `edgevision run` takes: `0`, `rtsp://`, `http://`, `csi://0`, `gst:`, `demo:`, `loop:FILE`.",
        ),
    )
    threshold: float = field(default=0.25, metadata=says(SHARE, "Least score of a detection."))
    track: bool = field(default=False, metadata=says(Flag(), "Give detections identities that last."))
    only: tuple[str, ...] = field(
        default=(), metadata=says(Texts("names of classes"), "Leave out other classes.")
    )
    min_area: float = field(
        default=0.0, metadata=says(SHARE, "Leave out boxes of a smaller share of the frame.")
    )
    max_area: float = field(
        default=1.0, metadata=says(SHARE, "Leave out boxes of a larger share of the frame.")
    )
    lines: tuple[PlaceText, ...] = field(
        default=(),
        metadata=says(
            Places(zones=False),
            "Count who crosses them; in pixels, or in shares of the frame if no number exceeds 1.",
        ),
    )
    zones: tuple[PlaceText, ...] = field(
        default=(), metadata=says(Places(zones=True), "Count who is in them, and for how long.")
    )
    sinks: tuple[str, ...] = field(
        default=(), metadata=says(Texts("names of sinks"), "Where its results go.")
    )
    transport: Literal["tcp", "udp"] = field(
        default="tcp", metadata=says(Choice(("tcp", "udp")), "What an RTSP camera's pictures come by.")
    )
    freeze_after_s: float = field(
        default=5.0,
        metadata=says(
            Number(0), "Withhold pictures of a camera that shows the same one for so long; 0: never."
        ),
    )
    reopen_after_s: float = field(
        default=300.0,
        metadata=says(
            Number(0), "Close and open a camera that has given no good picture for so long; 0: never."
        ),
    )
    give_up_after_s: float | None = field(
        default=None,
        metadata=says(
            Number(0, least_open=True),
            "Count a camera that is away for so long as failed, until the next reload; without it never.",
        ),
    )


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """Where results go."""

    name: str = field(metadata=says(NAME, "What cameras call it."))
    address: str = field(
        repr=False,
        metadata=says(
            Text("an address", expands=True),
            "`FILE.jsonl`, `FILE.csv`, `mqtt://host/topic`, `https://host/path`, or `events:FOLDER`.",
        ),
    )
    every_result: bool | None = field(
        default=None,
        metadata=says(
            Flag(),
            "All results, or only those with events; without it MQTT gets all, webhooks those with events.",
        ),
    )
    capacity: int = field(
        default=SinkOptions().capacity,
        metadata=says(Number(1, 1_000_000, whole=True), "Results that may wait; more are lost, and counted."),
    )
    token: str | None = field(
        default=None,
        repr=False,
        metadata=says(Text("a text", expands=True), "Webhooks: sent as the bearer token."),
    )
    secret: str | None = field(
        default=None,
        repr=False,
        metadata=says(Text("a text", expands=True), "Webhooks: what messages are signed with."),
    )
    keep: int = field(
        default=SinkOptions().keep,
        metadata=says(Number(1, whole=True), "`events:`: most pictures that are kept."),
    )
    max_mib: float = field(
        default=SinkOptions().max_mib,
        metadata=says(Number(0, least_open=True), "`events:`: most space that pictures take."),
    )
    max_days: float = field(
        default=SinkOptions().max_days,
        metadata=says(Number(0, least_open=True), "`events:`: for so long pictures are kept."),
    )
    classes: tuple[str, ...] = field(
        default=(),
        metadata=says(Texts("names of classes"), "`events:`: pictures of these detections are kept, too."),
    )
    gap_s: float = field(
        default=SinkOptions().gap_s,
        metadata=says(Number(0), "`events:`: least time between two such pictures."),
    )


@dataclass(frozen=True, slots=True)
class PageSettings:
    """The live page; without this table there is none."""

    host: str = field(
        default="127.0.0.1",
        metadata=says(Text("an address of this machine"), "Where it listens; 0.0.0.0: everywhere."),
    )
    port: int = field(default=8080, metadata=says(Number(1, 65535, whole=True), "Where it listens."))
    token_env: str | None = field(
        default=None,
        metadata=says(VARIABLE, "The variable that holds the token which visitors must know."),
    )
    token_file: str | None = field(
        default=None,
        metadata=says(Text("a path", expands=True), "The file whose first line is the token."),
    )
    allowed_hosts: tuple[str, ...] = field(
        default=(),
        metadata=says(Texts("names of hosts"), "Names by which a reverse proxy calls the page."),
    )
    max_clients: int = field(
        default=8,
        metadata=says(Number(1, 1000, whole=True), "Visitors, and viewers of each camera, at a time."),
    )
    video_per_s: float = field(
        default=15.0,
        metadata=says(Number(0, 60, least_open=True), "Most pictures a second and camera that are sent."),
    )


@dataclass(frozen=True, slots=True)
class WatchdogSettings:
    """When the service counts as stuck, ends and is started anew."""

    stuck_after_s: float = field(
        default=WatchdogOptions().stuck_after_s,
        metadata=says(Number(1), "A call of the engine, or a standstill of the pipeline, of so long, ..."),
    )
    stuck_factor: float = field(
        default=WatchdogOptions().stuck_factor,
        metadata=says(Number(2), "... and of so many times what a call takes as a rule."),
    )
    answer_within_s: float = field(
        default=WatchdogOptions().answer_within_s,
        metadata=says(Number(1), "The first call, in which some engines compile or build, takes longer."),
    )
    open_within_s: float = field(
        default=WatchdogOptions().open_within_s,
        metadata=says(Number(1), "Opening the engine takes longer, building it included."),
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file."""

    folder: Path
    """Where it lies, and relative paths begin."""
    model: ModelSettings = field(metadata=says(Table(ModelSettings), "the model"))
    cameras: tuple[CameraSettings, ...] = field(
        metadata=says(Table(CameraSettings, several=True), "one for each camera", name="camera")
    )
    budgets: BudgetSettings = field(
        default_factory=BudgetSettings, metadata=says(Table(BudgetSettings), "how long frames may take")
    )
    sinks: tuple[SinkSettings, ...] = field(
        default=(), metadata=says(Table(SinkSettings, several=True), "where results go", name="sink")
    )
    page: PageSettings | None = field(default=None, metadata=says(Table(PageSettings), "the live page"))
    watchdog: WatchdogSettings = field(
        default_factory=WatchdogSettings, metadata=says(Table(WatchdogSettings), "when it counts as stuck")
    )

    def path(self, text: str) -> Path:
        """A path of the file as one from anywhere."""
        return self.folder / Path(text).expanduser()
