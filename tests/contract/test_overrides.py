from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.contract.overrides import IOU_THRESHOLD, SCORE_FLOOR, carries, refuse_absent
from edgevision.contract.session import SessionOptions
from edgevision.engines.opening import CPU_ENGINES, open_session
from edgevision.errors import GraphError


def test_the_names_are_those_that_graphs_are_made_with() -> None:
    nms = pytest.importorskip("edgevision.graph.nms")
    assert (IOU_THRESHOLD, SCORE_FLOOR) == (nms.IOU_THRESHOLD, nms.SCORE_FLOOR)


def test_a_name_is_found_in_the_bytes(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(b"\x08\x09nms.score_floor\x00")
    assert carries(file, SCORE_FLOOR)
    assert not carries(file, IOU_THRESHOLD)
    refuse_absent(file, SCORE_FLOOR)
    with pytest.raises(GraphError, match=r"m.onnx has no value 'nms.iou_threshold' to override"):
        refuse_absent(file, IOU_THRESHOLD)


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_an_override_of_what_a_graph_does_not_carry_is_refused(engine: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip(engine)
    from tests.brightness import write_brightness_bundle

    write_brightness_bundle(tmp_path / "b")
    for options in (SessionOptions(iou_threshold=0.5), SessionOptions(score_floor=0.1)):
        with pytest.raises(GraphError, match="omit the option"):
            open_session(tmp_path / "b", engine=engine, options=options)
    open_session(tmp_path / "b", engine=engine).close()
