"""`edgevision demo`, as `make demo` calls it: without a network."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgevision.benchmark.record_files import read_record
from edgevision.bundle.folder import Bundle
from edgevision.cli.commands.demo import STREET, Boxed, boxed_people, command
from edgevision.errors import UsageError
from edgevision.sources.opening import open_source
from edgevision.sources.synthetic_camera import SyntheticCamera


def lines_of(path: Path, found: list[list[tuple[str, list[float]]]]) -> Path:
    records = [{"detections": [{"class": name, "box": box} for name, box in frame]} for frame in found]
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def test_boxes_are_compared_with_the_people_in_view(tmp_path: Path) -> None:
    camera = SyntheticCamera()
    truth = [camera.people(index) for index in range(3)]
    well = sum(int((seen.shares >= 0.75).sum()) for seen in truth)
    perfect = [[("person", box.tolist()) for box in seen.boxes] for seen in truth]
    assert boxed_people(lines_of(tmp_path / "a", perfect), camera) == Boxed(well, well, 0)
    assert boxed_people(lines_of(tmp_path / "b", [[], [], []]), camera) == Boxed(well, 0, 0)
    # One person missed, one box on bare wall, and a cup called a cup.
    first = int(np.argmax(truth[0].shares >= 0.75))
    flawed = [list(frame) for frame in perfect]
    flawed[0].pop(first)
    flawed[1].append(("person", [0.0, 0.0, 3.0, 3.0]))
    flawed[2].append(("cup", [0.0, 0.0, 3.0, 3.0]))
    assert boxed_people(lines_of(tmp_path / "c", flawed), camera) == Boxed(well, well - 1, 1)
    # Boxes of half the size are not the people's.
    small = [[("person", [*box[:2], *(np.array(box[:2]) + box[2:]) / 2]) for _, box in f] for f in perfect]
    assert boxed_people(lines_of(tmp_path / "d", small), camera).boxed == 0


def test_two_models_are_one_too_many(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--checkpoint", "x.pt", "--official", "-o", str(tmp_path)])
    assert isinstance(result.exception, UsageError)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a connection fails."""

    def refuse(self: socket.socket, address: Any) -> None:
        raise OSError(f"this test has no network, and {address} was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("EDGEVISION_DATA", raising=False)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("offline")
def test_the_demo_boxes_the_people_without_a_network(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--seconds", "0.2", "-o", str(tmp_path)])
    assert result.exit_code == 0, result.exception
    camera = SyntheticCamera()
    boxed = boxed_people(tmp_path / "detections.jsonl", camera)
    assert boxed.people > 400
    assert boxed.boxed >= 0.95 * boxed.people
    assert boxed.nobody <= 0.03 * boxed.people
    bundle = Bundle.open(tmp_path / STREET.stem)
    engines = [v.engine for v in bundle.graph("float").verifications if v.stage == "verify" and v.passed]
    assert "onnxruntime" in engines
    assert bundle.spec.frames.size_wh == (416, 416)
    for engine in engines:
        record = read_record(tmp_path / f"bench.{engine}.json")
        assert record.engine.engine == engine
        assert f"{record.inference_alone.p50_ms:.2f} ms" in result.stdout
    with open_source(tmp_path / "annotated.mp4") as source:
        assert source.frame_count == camera.cycle
    printed = re.findall(r"^\$ edgevision (\w+)", result.stdout, flags=re.MULTILINE)
    assert printed == ["export", "verify", "run", *["bench"] * len(engines)]
    assert f"{boxed.boxed} of {boxed.people}" in result.stdout
    for name in ("annotated.mp4", "detections.jsonl", "bench.onnxruntime.json", "street"):
        assert str(tmp_path / name) in result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_without_torch_the_packaged_bundle_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevision.cli.commands.demo.can_export", lambda: False)
    monkeypatch.setenv("EDGEVISION_CACHE", str(tmp_path / "cache"))
    result = CliRunner().invoke(command, ["--seconds", "0.1", "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.exception
    printed = re.findall(r"^\$ edgevision (\w+)", result.stdout, flags=re.MULTILINE)
    assert printed[:3] == ["verify", "run", "bench"]
    assert "pip install 'edgevision[export,cpu]'" in result.output
    boxed = boxed_people(tmp_path / "out" / "detections.jsonl", SyntheticCamera())
    assert boxed.boxed >= 0.95 * boxed.people
    assert str(tmp_path / "cache" / "bundles") in result.stdout.splitlines()[-1]
