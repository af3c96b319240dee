from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from prometheus_client import parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser

from edgevision.device.facts import FactReading
from edgevision.device.power.reading import power_state
from edgevision.device.power.state import Clock, PowerState
from edgevision.errors import EngineError
from edgevision.service.camera_plan import Readiness
from edgevision.service.web import machine_metrics
from edgevision.service.web.metrics import Ages, Metrics, MonotonicCounters, PageCounts
from tests.device.power.trees import ORIN_NANO_36, grow
from tests.service.web.conftest import Serving, ask
from tests.service.web.fake_manager import FakeManager, result, status

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "live.md"
NASTY = 'a "b"\\c\nd <script>'


def scraped(camera_manager: FakeManager, ages: Ages | None = None) -> dict[str, Metric]:
    body, content_type = Metrics(camera_manager, ages or Ages(), PageCounts()).text("")
    assert content_type.startswith("text/plain")
    return {family.name: family for family in parser.text_string_to_metric_families(body.decode())}


def value(families: dict[str, Metric], sample: str, **labels: str) -> float:
    found = [
        each.value
        for family in families.values()
        for each in family.samples
        if each.name == sample and each.labels == labels
    ]
    assert len(found) == 1, f"{sample} {labels}: {found}"
    return float(found[0])


def test_the_values_of_a_camera() -> None:
    families = scraped(FakeManager(["cam"]))
    for name, expected in (
        ("frames_total", 10),
        ("frames_dropped_total", 1),
        ("frames_late_total", 2),
        ("frames_missed_total", 3),
        ("outages_total", 2),
        ("outage_seconds_total", 3.5),
        ("camera_up", 1),
        ("threshold_ratio", 0.25),
    ):
        assert value(families, f"edgevision_{name}", camera="cam") == expected
    for reason, count in (("frozen", 4), ("black", 5), ("damaged", 6)):
        assert value(families, "edgevision_frames_withheld_total", camera="cam", reason=reason) == count
    assert value(families, "edgevision_stage_seconds", camera="cam", stage="inference") == 0.022
    assert value(families, "edgevision_camera_state", camera="cam", state="running") == 1
    assert value(families, "edgevision_camera_state", camera="cam", state="failed") == 0
    crossings = {"camera": "cam", "line": "door"}
    assert value(families, "edgevision_line_crossings_total", direction="in", **crossings) == 3
    assert value(families, "edgevision_line_crossings_total", direction="out", **crossings) == 2
    assert value(families, "edgevision_zone_inside", camera="cam", zone="yard") == 4
    assert value(families, "edgevision_sink_written_total", sink="mqtt") == 7
    assert value(families, "edgevision_sink_lost_total", sink="mqtt") == 3
    assert value(families, "edgevision_sink_waiting", sink="mqtt") == 2
    assert value(families, "edgevision_sink_up", sink="mqtt") == 0


def test_the_engine() -> None:
    camera_manager = FakeManager(["cam"])
    families = scraped(camera_manager)
    labels = {"model": "m", "task": "detect", "engine": "brightness", "library": "test", "device": "cpu"}
    assert value(families, "edgevision_engine_info", precision="", **labels) == 1
    assert value(families, "edgevision_ready") == value(families, "edgevision_ready_ratio") == 1
    assert value(families, "edgevision_healthy") == 1
    camera_manager.fake.readiness = Readiness("building", 0.43, "")
    camera_manager.fake.session = None
    families = scraped(camera_manager)
    assert value(families, "edgevision_ready") == 0
    assert value(families, "edgevision_ready_ratio") == 0.43
    assert families["edgevision_engine_info"].samples == []
    camera_manager.fake.failure = EngineError("broke")
    assert value(scraped(camera_manager), "edgevision_healthy") == 0


def test_ages_are_counted_in_buckets() -> None:
    ages = Ages()
    for age_ms in (5.0, 10.0, 42.0, 99_000.0):
        ages.offer("cam", dataclasses.replace(result(), age_ms=age_ms))
    families = scraped(FakeManager(["cam", "idle"]), ages)
    for bound, count in (("0.01", 2), ("0.05", 3), ("10.0", 3), ("+Inf", 4)):
        assert value(families, "edgevision_result_age_seconds_bucket", camera="cam", le=bound) == count
    assert value(families, "edgevision_result_age_seconds_count", camera="cam") == 4
    assert value(families, "edgevision_result_age_seconds_sum", camera="cam") == pytest.approx(99.057)
    assert value(families, "edgevision_result_age_seconds_count", camera="idle") == 0


def test_counters_never_fall() -> None:
    steady = MonotonicCounters()
    counted = [steady(("frames", "cam"), count) for count in (0, 5, 9, 2, 4, 0, 1)]
    assert counted == [0, 5, 9, 11, 13, 13, 14]
    assert steady(("frames", "other"), 3) == 3


def test_counters_never_fall_over_a_reload() -> None:
    camera_manager = FakeManager(["cam"])
    page = Metrics(camera_manager, Ages(), PageCounts())

    def frames() -> float:
        body = page.text("")[0].decode()
        families = {family.name: family for family in parser.text_string_to_metric_families(body)}
        return value(families, "edgevision_frames_total", camera="cam")

    counted = []
    for count in (100, 120, 3, 8):
        camera_manager.fake.cameras = (status("cam", frames=count),)
        counted.append(frames())
    assert counted == [100, 120, 123, 128]
    camera_manager.fake.cameras = ()
    page.text("")
    camera_manager.fake.cameras = (status("cam", frames=1),)
    assert frames() == 129, "a camera that came back goes on"


def test_special_characters_in_names_survive_a_round_trip() -> None:
    families = scraped(FakeManager([NASTY, "Türe 門 🚪", "a,b={}"]))
    names = {each.labels["camera"] for each in families["edgevision_frames"].samples}
    assert names == {NASTY, "Türe 門 🚪", "a,b={}"}


def test_openmetrics_where_the_scraper_takes_it() -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    body, content_type = Metrics(FakeManager([NASTY]), Ages(), PageCounts()).text(accept)
    assert content_type.startswith("application/openmetrics-text")
    read = openmetrics_parser.text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call]  # of theirs
    families = list(read)
    assert "edgevision_frames" in {family.name for family in families}


def on_a_machine(monkeypatch: pytest.MonkeyPatch, state: PowerState) -> None:
    monkeypatch.setattr(machine_metrics, "power_state", lambda: state)


def test_sensors_of_one_name_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = (FactReading("cpu", 40.0), FactReading("cpu", 50.0))
    on_a_machine(monkeypatch, PowerState(temperatures_c=twice, clocks=(Clock("gpu", 800.0),)))
    families = scraped(FakeManager(["cam"]))
    assert value(families, "edgevision_temperature_celsius", sensor="cpu") == 40
    assert value(families, "edgevision_temperature_celsius", sensor="cpu 2") == 50
    assert value(families, "edgevision_clock_hertz", domain="gpu") == 8e8


def test_a_jetson_that_slows_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the files of the kernel to what a scraper reads."""
    root = grow(tmp_path, ORIN_NANO_36)
    on_a_machine(monkeypatch, power_state(root))
    camera_manager = FakeManager(["cam"])
    families = scraped(camera_manager)
    over_current = "instantaneous over-current (OC3)"
    assert value(families, "edgevision_throttle_events_total", reason=over_current) == 27390
    assert value(families, "edgevision_throttled", reason="temperature (gpu-throttle-alert)") == 0
    assert value(families, "edgevision_clock_hertz", domain="gpu 17000000.gpu") == 306e6
    assert value(families, "edgevision_clock_limit_hertz", domain="gpu 17000000.gpu") == 612e6
    assert value(families, "edgevision_power_watts", rail="VDD_IN") == pytest.approx(9.25, abs=0.01)
    assert value(families, "edgevision_power_mode_info", mode="15W (0)") == 1
    grow(root, {"sys/class/thermal/cooling_device2/cur_state": "1\n"})
    on_a_machine(monkeypatch, power_state(root))
    assert (
        value(scraped(camera_manager), "edgevision_throttled", reason="temperature (gpu-throttle-alert)") == 1
    )


def test_names_follow_the_conventions() -> None:
    for family in scraped(FakeManager(["cam"])).values():
        assert re.fullmatch(r"edgevision_[a-z]+(_[a-z]+)*", family.name)
        assert not re.search(r"_(ms|mib|mhz|percent|ns)(_|$)", family.name), "base units only"
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total")


def test_the_document_lists_what_there_is() -> None:
    documented = re.findall(
        r"^\| `(edgevision_\w+)` \| (\w+) \|([^|]*)\|", DOCUMENT.read_text(), flags=re.MULTILINE
    )
    listed = {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in documented}
    given = {}
    for name, family in scraped(FakeManager(["cam"])).items():
        full = f"{name}_total" if family.type == "counter" else name
        labels = frozenset(label for each in family.samples for label in each.labels if label != "le")
        given[full] = (family.type, labels)
    # This machine may have no sensors, and then no sample tells the labels.
    given["edgevision_temperature_celsius"] = ("gauge", frozenset({"sensor"}))
    given["edgevision_clock_hertz"] = ("gauge", frozenset({"domain"}))
    given["edgevision_clock_limit_hertz"] = ("gauge", frozenset({"domain"}))
    given["edgevision_power_watts"] = ("gauge", frozenset({"rail"}))
    given["edgevision_throttled"] = ("gauge", frozenset({"reason"}))
    given["edgevision_throttle_events_total"] = ("counter", frozenset({"reason"}))
    given["edgevision_power_mode_info"] = ("gauge", frozenset({"mode"}))
    given.pop("edgevision_power_mode", None)
    assert listed == given


def test_the_page_counts_itself(serving: Serving) -> None:
    server = serving(FakeManager(["cam"]))
    ask(server, "/nothing")
    body = ask(server, "/metrics").body.decode()
    families = {family.name: family for family in parser.text_string_to_metric_families(body)}
    assert value(families, "edgevision_page_refused_total") == 1
    assert value(families, "edgevision_page_clients", kind="video") == 0
