"""Conversion of settings to camera plans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgevision.analytics.options import AnalyticsOptions
from edgevision.analytics.places import PlaceText
from edgevision.contract.session import SessionOptions
from edgevision.errors import UsageError
from edgevision.pipeline.options import PipelineOptions
from edgevision.service.camera_plan import CameraPlan
from edgevision.service.config.addressing import (
    holds_password,
    public_sink,
    sink_address,
    sink_kind,
)
from edgevision.service.config.plans import (
    camera_limits,
    camera_plans,
    page_options,
)
from edgevision.service.config.reading import read_deployment
from edgevision.service.watchdog import CameraLimit, WatchdogOptions
from edgevision.service.web.options import PageOptions
from edgevision.sources.addresses import SourceAddress
from edgevision.sources.freeze import FreezeOptions
from edgevision.sources.options import CameraOptions

FILE = """\
[model]
bundle = "model"
iou = 0.6
precision = "float"
allow_fallback = true
[budgets]
max_age_ms = 200
batch = 4
batch_timeout_ms = 2
[[camera]]
name = "door"
address = "rtsp://host/1"
threshold = 0.4
only = ["lamp"]
min_area = 0.01
lines."a = b" = [0.1, 0.2, 0.3, 1e-05]
zones.queue = [1, 2, 300, 2, 300.25, 400]
sinks = ["all"]
transport = "udp"
decoder = "hardware"
freeze_after_s = 0
reopen_after_s = 0
outage_timeout_s = 60
[[camera]]
name = "clip"
address = "loop:clips/a.mp4@12.5"
freeze_after_s = 7
[[sink]]
name = "all"
address = "found.jsonl"
[page]
host = "0.0.0.0"
port = 9000
token_env = "TOKEN"
max_clients = 3
allowed_hosts = ["cams.example"]
video_per_s = 5
[watchdog]
stuck_after_s = 20
stuck_factor = 30
answer_within_s = 300
open_within_s = 600
"""


def test_every_setting_reaches_its_plan(write_file: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").touch()
    environment = {"TOKEN": " 0123456789abcdef\n"}
    settings = read_deployment(write_file(FILE), environment).require()
    door, clip = camera_plans(settings)
    assert door == CameraPlan(
        "door",
        "rtsp://host/1",
        CameraOptions(
            outage_timeout_s=60,
            freeze=FreezeOptions(freeze_after_s=None),
            transport="udp",
            decoder="hardware",
        ),
        0.4,
        AnalyticsOptions(
            lines=(PlaceText("a = b", (0.1, 0.2, 0.3, 1e-05)),),
            zones=(PlaceText("queue", (1.0, 2.0, 300.0, 2.0, 300.25, 400.0)),),
            only=("lamp",),
            min_area=0.01,
        ),
        ("all",),
    )
    assert clip == CameraPlan(
        "clip",
        f"loop:{tmp_path}/clips/a.mp4@12.5",
        CameraOptions(freeze=FreezeOptions(freeze_after_s=7)),
    )
    assert settings.budgets == PipelineOptions(max_age_ms=200.0, batch=4, batch_timeout_ms=2.0)
    assert settings.model.opening == SessionOptions(iou_threshold=0.6, precision="float", allow_fallback=True)
    assert settings.page is not None
    assert page_options(settings.page, tmp_path, environment) == PageOptions(
        host="0.0.0.0",
        port=9000,
        token="0123456789abcdef",
        allowed_hosts=("cams.example",),
        max_clients=3,
        video_per_s=5.0,
    )
    assert settings.watchdog == WatchdogOptions(20, 30, 300, 600)
    assert camera_limits(settings) == {"door": CameraLimit(None, False), "clip": CameraLimit(300.0, True)}


def test_the_defaults_of_a_file_are_those_of_the_parts(write_file: Callable[[str], Path]) -> None:
    text = "[model]\nbundle = 'model'\n[[camera]]\nname = 'a'\naddress = 'demo:'\n[page]\n"
    settings = read_deployment(write_file(text), {}).require()
    assert camera_plans(settings) == (CameraPlan("a", "demo:"),)
    assert settings.budgets == PipelineOptions()
    assert settings.model.opening == SessionOptions()
    assert settings.page is not None
    assert page_options(settings.page, settings.folder, {}) == PageOptions()
    assert settings.watchdog == WatchdogOptions()
    assert camera_limits(settings) == {"a": CameraLimit()}


@pytest.mark.parametrize(
    ("text", "camera", "file"),
    [
        ("0", "0", None),
        ("/dev/video2", "/dev/video2", None),
        ("rtsp://h/x", "rtsp://h/x", None),
        ("demo:", "demo:", None),
        ("gst:videotestsrc ! x", "gst:videotestsrc ! x", None),
        ("a.mp4", "/etc/cams/a.mp4", "/etc/cams/a.mp4"),
        ("/data/a.mp4", "/data/a.mp4", "/data/a.mp4"),
        ("loop:a b.mp4", "loop:/etc/cams/a b.mp4", "/etc/cams/a b.mp4"),
        ("loop:/data/a@home.mp4@5", "loop:/data/a@home.mp4@5", "/data/a@home.mp4"),
    ],
)
def test_paths_of_cameras_begin_at_the_file(text: str, camera: str, file: str | None) -> None:
    address = SourceAddress.parse(text).within(Path("/etc/cams"))
    assert address.text == camera
    assert address.path == (None if file is None else Path(file))


@pytest.mark.parametrize(
    ("text", "kind", "address", "public"),
    [
        ("a.jsonl", "file", "/s/a.jsonl", "a.jsonl"),
        ("/var/a.CSV", "file", "/var/a.CSV", "/var/a.CSV"),
        ("events:p?keep=5", "events", "events:/s/p?keep=5", "events:p?keep=5"),
        ("events:", None, "events:/s", "events:"),
        ("mqtt://u:p@h/t", "mqtt", "mqtt://u:p@h/t", "mqtt://h/t"),
        ("https://u:p@h/secret/path?x=1", "webhook", "https://u:p@h/secret/path?x=1", "https://h"),
        ("a.txt", None, "/s/a.txt", "a.txt"),
        ("ftp://h/a.csv", None, "ftp://h/a.csv", "ftp://h/a.csv"),
    ],
)
def test_addresses_of_sinks(text: str, kind: str | None, address: str, public: str) -> None:
    assert sink_kind(text) == kind
    assert sink_address(text, Path("/s")) == address
    assert public_sink(text) == public


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("rtsp://host/x", False),
        ("rtsp://me@host/x", False),
        ("rtsp://me:pw@host/x", True),
        ("rtsp://me:p@w@host/x", True),
        ("rtsp://me:${P}@host/x", False),
        ("rtsp://${U}:${P}${Q}@host/x", False),
        ("rtsp://me:${P}1@host/x", True),
        ("rtsp://me:$${P}@host/x", True),
        ("demo:", False),
    ],
)
def test_a_plain_text_password_is_detected(text: str, holds: bool) -> None:
    assert holds_password(text) is holds


def test_a_token_that_is_not_there_is_an_error(write_file: Callable[[str], Path], tmp_path: Path) -> None:
    settings = read_deployment(
        write_file(FILE.replace("loop:clips/a.mp4@12.5", "demo:")), {"TOKEN": "0" * 16}
    )
    page = settings.require().page
    assert page is not None
    with pytest.raises(UsageError, match="no variable TOKEN"):
        page_options(page, tmp_path, {})
