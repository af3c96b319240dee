"""Commands reject graphs that a requested TensorRT does not support, and report the versions that do."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from edgevision.bundle.folder import Bundle
from edgevision.cli.options.types import TENSORRT_NAMES
from edgevision.cli.root import edgevision as cli
from edgevision.graph.limits.versions import LIMITS
from tests.brightness import write_brightness_bundle
from tests.graph import networks

ALL_READ = "read by TensorRT 8.6, TensorRT 10.3, TensorRT 10.13, TensorRT 11.4, TensorRT-RTX 1.7"


def test_the_option_accepts_every_row_of_the_table() -> None:
    assert tuple(row.name for row in LIMITS) == TENSORRT_NAMES


@pytest.fixture
def unreadable(tmp_path: Path) -> Path:
    """A detector with an operator that no TensorRT has."""
    model = networks.yolov8()
    last = model.graph.node[-1]
    answer = last.output[0]
    last.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Hardmax", ["before"], ["hard"], name="planted_Hardmax"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["before", "hard"], [answer], name="planted_Mul"))
    onnx.save(model, tmp_path / "theirs.onnx")
    return tmp_path / "theirs.onnx"


def test_adopt_refuses_by_node_operator_reason_and_remedy(unreadable: Path, tmp_path: Path) -> None:
    words = ["adopt", str(unreadable), "--head", "yolov8", "-o", str(tmp_path / "b")]
    done = CliRunner().invoke(cli, [*words, "--tensorrt", "10.3", "--tensorrt", "8.6"])
    assert done.exit_code != 0
    message = str(done.exception)
    assert "TensorRT 8.6 cannot read" in message
    assert (
        "node planted_Hardmax (Hardmax): TensorRT 8.6 does not support this operator; replace it" in message
    )
    assert not (tmp_path / "b").exists()


def test_export_takes_what_every_version_reads(tmp_path: Path) -> None:
    words = ["export", "cnn", "--random-weights", "-o", str(tmp_path / "b")]
    done = CliRunner().invoke(cli, [*words, *[w for name in TENSORRT_NAMES for w in ("--tensorrt", name)]])
    assert done.exit_code == 0, done.output
    shown = CliRunner().invoke(cli, ["inspect", str(tmp_path / "b")]).output
    assert shown.count(ALL_READ) == 2  # the float graph and the FP16 one
    alone = CliRunner().invoke(cli, ["inspect", str(tmp_path / "b" / "model.onnx")]).output
    assert f"tensorrt   {ALL_READ}" in alone


def test_inspect_reports_what_a_version_does_not_support(tmp_path: Path) -> None:
    write_brightness_bundle(tmp_path / "b")
    bundle = Bundle.open(tmp_path / "b")
    model = onnx.load(bundle.graph_path())
    model.opset_import[0].version = 19
    bundle.add_graph("int8", model.SerializeToString())
    shown = CliRunner().invoke(cli, ["inspect", str(tmp_path / "b")]).output
    assert "not by TensorRT 8.6: the graph: its opset is 19; TensorRT 8.6 supports 1 to 17" in shown
