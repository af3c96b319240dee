"""The parts of a finished graph, and what `launches` measures of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from benchmarks.graph_parts import network_alone
from benchmarks.launches import Subject, beyond, cpu_parts
from edgevision.benchmark.layers.parts import PARTS, parts_of
from edgevision.bundle.folder import Bundle
from edgevision.engines.ort_settings import cpu_session
from edgevision.graph.contract import with_outputs


@pytest.fixture(scope="module")
def street() -> Subject:
    bundle = Bundle.open("street")
    return Subject("street", "new", onnx.load(bundle.graph_path()), bundle.golden().frames[:1])


def test_every_node_belongs_to_a_part(street: Subject) -> None:
    parts = parts_of(street.file.graph.node)
    counts = Counter(parts.values())
    assert set(counts) == set(PARTS)
    assert counts.total() == len(street.file.graph.node)
    kinds = Counter((parts[n.name], n.op_type) for n in street.file.graph.node)
    assert kinds["network", "Conv"] == kinds.total() - sum(
        n.op_type != "Conv" for n in street.file.graph.node
    )
    assert (kinds["top-k", "TopK"], kinds["compaction", "TopK"]) == (2, 1)
    assert kinds["nms", "MatMul"] == 16
    assert kinds["pre-processing", "Cast"] == 1


def test_the_network_alone_has_the_raw_outputs_of_the_graph(street: Subject) -> None:
    alone, feed = network_alone(street.file, street.frames)
    names = tuple(value.name for value in alone.graph.output)
    assert len(names) == 3
    expected = cpu_session(with_outputs(street.file, names).SerializeToString()).run(
        None, {"frames": street.frames}
    )
    actual = cpu_session(alone.SerializeToString()).run(None, feed)
    for left, right in zip(actual, expected, strict=True):
        assert np.abs(left - right).max() < 1e-3


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino f32"])
def test_every_part_is_measured(street: Subject, engine: str) -> None:
    parts = cpu_parts(street, engine, threads=1, rounds=2)
    assert [one.part for one in parts] == list(PARTS)
    assert all(one.nodes > 0 and one.ms is not None and one.ms > 0 for one in parts)


def test_the_share_is_that_of_whole_and_network(street: Subject) -> None:
    ticks = iter(range(0, 10**9, 3_000_000))
    (figures,) = beyond([street], "onnxruntime", 1, 2, lambda: next(ticks))
    assert figures == (3.0, 3.0, 0.0, 0.0)
