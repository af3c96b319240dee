"""Bundles: complete, unmodified, and with clear errors."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.bundle.folder import Bundle, CheckRecord, Golden, Verification, write_bundle
from edgevision.contract.spec import FrameInput, ModelSpec, Provenance, classify_outputs
from edgevision.errors import BundleError
from edgevision.storage.sha256 import sha256_of_file

SPEC = ModelSpec(
    "m",
    "classify",
    FrameInput((8, 8)),
    classify_outputs(2),
    ("a", "b"),
    Provenance("m.pt", None, "cnn", "2026-01-01T00:00:00+00:00"),
)
GOLDEN = Golden(
    np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3), (np.full((2, 2), 0.5, np.float32),)
)
RECORD = Verification(
    "verify", "onnxruntime", "onnxruntime 1", 2, (CheckRecord("difference", 0.0, "<=", 0.1),), "2026-01-01"
)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "b", SPEC, b"a graph", GOLDEN, (RECORD,))


def test_what_is_written_is_read(bundle: Bundle) -> None:
    opened = Bundle.open(bundle.path)
    assert opened.manifest == bundle.manifest
    assert opened.graph_path().read_bytes() == b"a graph"
    golden = opened.golden()
    assert np.array_equal(golden.frames, GOLDEN.frames)
    assert np.array_equal(golden.answers[0], GOLDEN.answers[0])
    assert sorted(path.name for path in bundle.path.iterdir()) == ["bundle.json", "golden.npz", "model.onnx"]


def test_the_manifest_is_as_documented(bundle: Bundle) -> None:
    data = json.loads((bundle.path / "bundle.json").read_text())
    assert data["schema"] == 1
    assert data["graphs"][0]["precision"] == "float"
    assert data["graphs"][0]["file"] == {
        "name": "model.onnx",
        "sha256": sha256_of_file(bundle.path / "model.onnx"),
        "size_bytes": 7,
    }
    assert data["graphs"][0]["verifications"][0]["checks"][0]["name"] == "difference"


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_a_flipped_byte_is_named(bundle: Bundle, name: str) -> None:
    data = bytearray((bundle.path / name).read_bytes())
    data[3] ^= 1
    (bundle.path / name).write_bytes(data)
    with pytest.raises(BundleError, match=rf"{name} was modified"):
        Bundle.open(bundle.path).check_files()


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_a_missing_file_is_named(bundle: Bundle, name: str) -> None:
    (bundle.path / name).unlink()
    with pytest.raises(BundleError, match=rf"{name} is missing"):
        Bundle.open(bundle.path).check_files()


def _rewrite(bundle: Bundle, **change: Any) -> None:
    file = bundle.path / "bundle.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))


def test_error_on_a_newer_schema_names_the_writing_version(bundle: Bundle) -> None:
    _rewrite(bundle, schema=7, edgevision="9.1.0", new_field={})
    with pytest.raises(BundleError, match=r"schema 7, written by edgevision 9\.1\.0.*upgrade"):
        Bundle.open(bundle.path)


def test_a_manifest_cannot_point_outside(bundle: Bundle) -> None:
    data = json.loads((bundle.path / "bundle.json").read_text())
    data["golden"]["name"] = "../../etc/passwd"
    _rewrite(bundle, **data)
    with pytest.raises(BundleError, match="leaves the bundle"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1}', "\xff"])
def test_a_damaged_manifest_is_an_error(bundle: Bundle, text: str) -> None:
    (bundle.path / "bundle.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=r"bundle\.json"):
        Bundle.open(bundle.path)


def test_places_without_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle at .*edgevision export"):
        Bundle.open(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"it has no bundle\.json"):
        Bundle.open(tmp_path)


def test_golden_frames_that_are_no_archive(bundle: Bundle) -> None:
    (bundle.path / "golden.npz").write_bytes(b"not a zip")
    entry = replace(bundle.manifest.golden, sha256=sha256_of_file(bundle.path / "golden.npz"))
    damaged = Bundle(bundle.path, replace(bundle.manifest, golden=entry))
    with pytest.raises(BundleError, match=r"golden\.npz cannot be read"):
        damaged.golden()


def test_a_bundle_replaces_a_bundle_and_nothing_else(bundle: Bundle, tmp_path: Path) -> None:
    write_bundle(bundle.path, SPEC, b"another graph", GOLDEN)
    assert Bundle.open(bundle.path).graph_path().read_bytes() == b"another graph"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        write_bundle(tmp_path / "mine", SPEC, b"", GOLDEN)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "mine"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_place(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BundleError, match="cannot write"):
        write_bundle(tmp_path / "b", SPEC, b"", GOLDEN)


def test_a_place_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="cannot write"):
        write_bundle(tmp_path / "file" / "b", SPEC, b"", GOLDEN)


def test_records_of_a_computed_precision_belong_to_the_graph_that_it_is_computed_from(bundle: Bundle) -> None:
    assert bundle.graph("bf16").file == bundle.graph("float").file
    assert bundle.graph_path("bf16") == bundle.graph_path("float")
    bundle.with_verification("bf16", RECORD)
    again = Bundle.open(bundle.path)
    assert again.graph("bf16").verifications == (RECORD,)
    assert [entry.precision for entry in again.manifest.graphs] == ["float"]
    again.with_verification("bf16", replace(RECORD, engine="openvino"))
    assert len(Bundle.open(bundle.path).graph("bf16").verifications) == 2
    other = Bundle.open(bundle.path).add_graph("float", b"another graph")
    assert other.graph("bf16").verifications == (), "they are not those of another graph"


def test_a_second_verification_takes_the_place_of_the_first(bundle: Bundle) -> None:
    failed = replace(RECORD, checks=(CheckRecord("difference", 0.5, "<=", 0.1),))
    other = replace(RECORD, engine="openvino")
    bundle.with_verification("float", failed).with_verification("float", other)
    records = Bundle.open(bundle.path).graph("float").verifications
    assert [(r.engine, r.passed) for r in records] == [("onnxruntime", False), ("openvino", True)]
    assert records[0].failures == "difference 0.5, must be <= 0.1"


def test_a_nan_keeps_no_limit() -> None:
    assert not CheckRecord("x", float("nan"), "<=", 1.0).passed
    assert not CheckRecord("x", float("nan"), ">=", 0.0).passed


def test_no_such_precision(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="holds no int8 graph; it holds: float"):
        bundle.graph("int8")
