"""Headers in front of plans."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgevision.cli.root import edgevision as cli
from edgevision.engines.tensorrt.plan_file import read_plan_file, write_plan_folder
from edgevision.errors import EngineError, GraphError

HEADER = {
    "description": "Ultralytics YOLO11n model",
    "task": "detect",
    "imgsz": [640, 640],
    "names": {"0": "a"},
}
PLAN = b"ftrt" + bytes(200)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    text = json.dumps(HEADER).encode()
    file = tmp_path / "yolo11n.engine"
    file.write_bytes(len(text).to_bytes(4, "little") + text + PLAN)
    return file


def test_the_header_is_removed(engine: Path) -> None:
    found = read_plan_file(engine)
    assert found.plan == PLAN
    assert found.value("task") == "detect"
    assert found.value("imgsz") == "[640, 640]"
    assert found.value("absent") is None


def test_adopt_writes_a_plain_plan(engine: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["adopt", str(engine), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "model.plan").read_bytes() == PLAN
    assert json.loads((tmp_path / "out" / "header.json").read_bytes()) == HEADER
    assert "Ultralytics YOLO11n model" in done.output
    assert "adopt the ONNX file it came from" in done.output


def test_an_existing_output_folder_is_not_replaced(engine: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(EngineError, match="out already exists"):
        write_plan_folder(read_plan_file(engine), tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text() == "x"


def test_a_plain_plan_has_no_header(tmp_path: Path) -> None:
    (tmp_path / "model.plan").write_bytes(PLAN)
    with pytest.raises(EngineError, match="has no Ultralytics header; .* load it directly"):
        read_plan_file(tmp_path / "model.plan")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"cannot read .*absent.engine: No such file"):
        read_plan_file(tmp_path / "absent.engine")


def test_error_on_a_graph_that_does_not_exist(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["adopt", "nosuch.onnx", "-o", str(tmp_path / "out")])
    assert isinstance(done.exception, GraphError)
    assert "nosuch.onnx cannot be read: No such file" in str(done.exception)
