"""TensorRT-RTX builds FP16 graphs of detectors with transformers with exactly the kept operations in FP32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgevision.contract.embedded_spec import FLOAT32_KEY, embedded_nodes
from edgevision.contract.session import Frames
from edgevision.graph.adopt import adopt
from edgevision.graph.surgery import with_named_nodes
from edgevision.quantize.calibration.magnitudes import probe_magnitudes
from edgevision.quantize.fp16 import HalfRules, half_graph
from edgevision.quantize.half.groups import SENSITIVE, groups_of
from edgevision.quantize.half.preparation import prepared
from tests.quantize.pixel_networks import frames
from tests.quantize.query_networks import query_network
from tests.rtx import RtxEngine, inspected_rtx_engine


def built_types(
    model: onnx.ModelProto, pixels: Frames, kept: set[str], file: Path
) -> tuple[RtxEngine, set[str], set[str]]:
    """The engine, the nodes that must be FP32, and those that must be FP16."""
    rules = HalfRules(decode_in_float=False, cautious=False, kept=dict.fromkeys(kept, "by the test"))
    half = half_graph(model, probe_magnitudes(model, [pixels]), rules)
    onnx.save(half.model, file)
    single = embedded_nodes(file, FLOAT32_KEY)
    assert single is not None
    return inspected_rtx_engine(file.read_bytes()), set(single), set(half.half)


def test_the_kept_operations_are_float_and_all_others_half(tmp_path: Path) -> None:
    model = query_network()
    groups = groups_of(model, [node.name for node in model.graph.node])
    kept = {node for group in groups if group.kind == "inverse sigmoid" for node in group.nodes}
    engine, single, half = built_types(model, frames(seed=1), kept, tmp_path / "half.onnx")
    assert single >= kept
    assert set(engine.types_of(single)) == {"Float"}
    assert engine.types_of(kept)["Float"] >= len(kept)
    assert engine.types_of(half)["Float"] == 0
    assert engine.types_of(half)["Half"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rtdetr", "dfine.post"])
def test_a_detector_with_queries_builds_with_the_types_as_asked(
    name: str, data_dir: Path, tmp_path: Path
) -> None:
    """The operations that transformers are sensitive to in FP32, all others in FP16."""
    model = prepared(with_named_nodes(adopt(data_dir / "detr" / f"{name}.onnx").model))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 320, 320, 3), dtype=np.uint8)
    rules = HalfRules(decode_in_float=False, cautious=False)
    groups = groups_of(model, half_graph(model, probe_magnitudes(model, [pixels]), rules).half)
    kept = {node for group in groups if group.kind in SENSITIVE for node in group.nodes}
    assert {group.kind for group in groups} >= set(SENSITIVE)
    engine, single, half = built_types(model, pixels, kept, tmp_path / "half.onnx")
    assert single >= kept
    assert engine.types_of(single)["Half"] == 0
    assert engine.types_of(kept)["Float"] > 50
    assert engine.types_of(half)["Float"] == 0
    assert engine.types_of(half)["Half"] > 200
    assert engine.shares()["float16"] > 0.3
