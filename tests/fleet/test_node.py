"""The work of a device, in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgevision
from edgevision.benchmark import frames
from edgevision.benchmark.record_files import read_record
from edgevision.bundle.folder import Bundle
from edgevision.fleet.node import FleetNode, NodeOptions
from edgevision.fleet.package import package
from edgevision.storage.sha256 import sha256_of_file

OPTIONS = NodeOptions("onnxruntime", None, 1, 0.1, 1)


def test_a_device_keeps_verifies_and_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "CLIP_WH", (160, 120))
    monkeypatch.setattr(frames, "CLIP_FRAMES", 4)
    packed = package(Bundle.open("cnn"))
    node = FleetNode()
    assert node.version().text == edgevision.__version__
    assert node.has(packed.digest).text == ""
    path = node.store(packed.digest, packed.data).text
    assert node.has(packed.digest).text == path
    ready = node.prepare(packed.digest, OPTIONS)
    assert ready.problem is None
    assert ready.text.endswith("on cpu, float")
    (tmp_path / "r.json").write_text(node.bench(OPTIONS).text)
    record = read_record(tmp_path / "r.json")
    assert (record.model, record.engine.engine) == ("cnn", "onnxruntime")
    assert record.graph_sha256 in packed.graphs


def test_results_that_differ_from_the_golden_ones_disagree(tmp_path: Path) -> None:
    bundle = Bundle.open("cnn")
    for file in bundle.path.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    golden = dict(np.load(tmp_path / "golden.npz"))
    golden["scores"] = golden["scores"][:, ::-1]
    np.savez(tmp_path / "golden.npz", **golden)
    text = (tmp_path / "bundle.json").read_text()
    entry = bundle.manifest.golden
    size = (tmp_path / "golden.npz").stat().st_size
    text = text.replace(entry.sha256, sha256_of_file(tmp_path / "golden.npz"))
    (tmp_path / "bundle.json").write_text(
        text.replace(f'"size_bytes": {entry.size_bytes}', f'"size_bytes": {size}')
    )
    packed = package(Bundle.open(tmp_path))
    node = FleetNode()
    node.store(packed.digest, packed.data)
    answer = node.prepare(packed.digest, OPTIONS)
    assert answer.differs
    assert answer.problem is not None
    assert "score difference" in answer.problem


def test_a_step_out_of_turn_is_a_problem() -> None:
    node = FleetNode()
    assert "before the bundle was prepared" in (node.bench(OPTIONS).problem or "")
    assert "no longer in the device's cache" in (node.prepare("0" * 64, OPTIONS).problem or "")
