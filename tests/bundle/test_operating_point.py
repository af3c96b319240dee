"""The operating point in a bundle, and the session that uses it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgevision.bundle.folder import Bundle
from edgevision.bundle.operating_point import LOST, ClassPoint, OperatingPoint
from edgevision.cli.commands.inspect import command as inspect
from edgevision.contract.thresholds import ClassThresholds
from edgevision.engines.opening import open_session
from edgevision.errors import BundleError
from edgevision.storage import atomic
from tests.brightness import write_brightness_bundle

LAMP = ClassPoint("lamp", 0.4, 0.9, 0.5, 0.6429, 120, fallback=False)


def point_of(bundle: Bundle, *classes: ClassPoint, fallback: float = 0.3) -> OperatingPoint:
    return OperatingPoint(
        classes,
        fallback,
        20,
        64,
        "labels.json",
        None,
        bundle.graph("float").file.sha256,
        "onnxruntime 1",
        "2026-01-01T00:00:00+00:00",
        "0.1.0",
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    write_brightness_bundle(tmp_path / "b")
    return Bundle.open(tmp_path / "b")


def changed(bundle: Bundle, **fields: Any) -> None:
    file = bundle.path / "bundle.json"
    data = json.loads(file.read_text())
    data["operating_point"].update(fields)
    file.write_text(json.dumps(data))


def test_what_is_written_is_read_and_used(bundle: Bundle) -> None:
    point = point_of(bundle, LAMP)
    assert bundle.with_operating_point(point).operating_point == point
    assert Bundle.open(bundle.path).operating_point == point
    with open_session(bundle.path, engine="onnxruntime") as session:
        assert session.threshold == ClassThresholds((0.4,))


def test_a_bundle_without_one_is_as_before(bundle: Bundle) -> None:
    assert "operating_point" not in json.loads((bundle.path / "bundle.json").read_text())
    assert bundle.operating_point is None
    with open_session(bundle.path, engine="onnxruntime") as session:
        assert session.threshold == 0.25


def test_a_class_that_was_not_measured_has_the_threshold_of_all(bundle: Bundle) -> None:
    point = point_of(bundle, LAMP)
    assert point.thresholds(("post", "lamp")) == ClassThresholds((0.3, 0.4))


def test_another_graph_has_no_operating_point(bundle: Bundle) -> None:
    bundle = bundle.with_operating_point(point_of(bundle, LAMP))
    assert bundle.add_graph("fp16", b"another").operating_point is not None
    assert bundle.add_graph("float", b"another").operating_point is None


def test_a_point_of_another_graph_is_reported_once(bundle: Bundle) -> None:
    bundle.with_operating_point(replace(point_of(bundle, LAMP), graph_sha256="0" * 64))
    with open_session(bundle.path, engine="onnxruntime") as session:
        assert session.threshold == 0.25
        assert session.info.notes.count(LOST) == 1
    lines = CliRunner().invoke(inspect, [str(bundle.path)]).output.splitlines()
    assert [line for line in lines if line.startswith("threshold")] == [f"threshold  {LOST}"]


def test_one_of_a_newer_schema_names_the_writer_and_the_fix(bundle: Bundle) -> None:
    bundle.with_operating_point(point_of(bundle, LAMP))
    changed(bundle, schema=2, edgevision="9.0", colour="red")
    with pytest.raises(
        BundleError,
        match=r"operating point of schema 2, written by edgevision 9\.0; this version supports schemas up to 1:"
        " upgrade edgevision",
    ):
        Bundle.open(bundle.path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fallback": 1.5}, "fallback is 1.5; expected 0 to 1"),
        ({"classes": [{"name": "lamp"}]}, "field 'threshold' is missing"),
        ({"images": "many"}, "images: expected int, found str"),
    ],
)
def test_one_that_is_damaged_is_named(bundle: Bundle, fields: dict[str, Any], message: str) -> None:
    bundle.with_operating_point(point_of(bundle, LAMP))
    changed(bundle, **fields)
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle.path)


def test_a_class_that_the_model_lacks_is_not_written(bundle: Bundle) -> None:
    before = (bundle.path / "bundle.json").read_bytes()
    with pytest.raises(BundleError, match="has the class 'cat'; the model has: lamp"):
        bundle.with_operating_point(point_of(bundle, replace(LAMP, name="cat")))
    assert (bundle.path / "bundle.json").read_bytes() == before


def test_a_bundle_that_cannot_be_written_is_unchanged(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    before = (bundle.path / "bundle.json").read_bytes()
    monkeypatch.setattr(atomic, "write_file", full)
    with pytest.raises(BundleError, match=r"cannot write .*bundle\.json: No space left on device"):
        bundle.with_operating_point(point_of(bundle, LAMP))
    assert (bundle.path / "bundle.json").read_bytes() == before
