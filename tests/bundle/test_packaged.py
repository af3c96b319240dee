"""The bundles that come with the package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from edgevision.bundle.folder import Bundle, write_bundle
from edgevision.bundle.packaged import FOLDER, PACKAGED, PackagedModel, bundle_path, packaged_names
from edgevision.cli.commands import models
from edgevision.engines.opening import open_session
from edgevision.errors import BundleError
from edgevision.verification.golden import verify_session


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.mark.parametrize("name", ["street", "unet", "cnn"])
def test_a_packaged_bundle_opens_by_name_and_matches_its_source(name: str, cache: Path) -> None:
    before = (FOLDER / name / "bundle.json").read_bytes()
    bundle = Bundle.open(name)
    assert bundle.path.parent == cache / "bundles"
    bundle.check_files()
    with open_session(name, engine="onnxruntime") as session:
        assert verify_session(session, bundle.golden(), precision="float").passed
    assert (FOLDER / name / "bundle.json").read_bytes() == before, "records go into the copy"
    assert Bundle.open(name).path == bundle.path


def test_a_folder_of_the_user_is_preferred(tmp_path: Path) -> None:
    (tmp_path / "street").mkdir()
    assert bundle_path(Path("street")) == Path("street")
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.open("street")


def test_without_a_cache_the_installed_folder_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEVISION_CACHE", str(tmp_path / "file"))
    assert bundle_path(Path("cnn")) == FOLDER / "cnn"


def test_error_on_an_unknown_name_lists_the_packaged_ones() -> None:
    assert packaged_names() == ("street", "unet", "cnn")
    with pytest.raises(BundleError, match="no bundle at stret.*packaged bundles: street, unet, cnn"):
        Bundle.open("stret")


def test_the_command_lists_them() -> None:
    lines = CliRunner().invoke(models.command).stdout.splitlines()
    assert [line.split()[:3] for line in lines[2:]] == [
        ["street", "detect", "416x416"],
        ["unet", "segment", "480x384"],
        ["cnn", "classify", "32x32"],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("model", PACKAGED, ids=lambda model: model.name)
def test_the_bundle_is_what_the_committed_weights_make(model: PackagedModel, tmp_path: Path) -> None:
    from edgevision.export.packaged import make

    new, old = Bundle.open(make(model, tmp_path / "made")), Bundle.open(model.path)
    assert new.spec.classes == old.spec.classes
    assert new.spec.provenance is not None
    assert old.spec.provenance is not None
    assert new.spec.provenance.source_sha256 == old.spec.provenance.source_sha256
    weights = [
        {
            tensor.name: onnx.numpy_helper.to_array(tensor)
            for tensor in onnx.load(bundle.graph_path()).graph.initializer
        }
        for bundle in (new, old)
    ]
    assert weights[0].keys() == weights[1].keys()
    for name, array in weights[0].items():
        np.testing.assert_allclose(array, weights[1][name], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(new.golden().frames, old.golden().frames)
    assert (new.operating_point is not None) == (model.name == "street")
    for name in ("classes", "fallback", "data_sha256", "created"):
        assert getattr(new.operating_point, name, None) == getattr(old.operating_point, name, None)


def test_the_detector_has_an_operating_point_that_sessions_use() -> None:
    point = Bundle.open("street").operating_point
    assert point is not None
    assert [one.name for one in point.classes] == list(Bundle.open("street").spec.classes)
    person = point.classes[0]
    assert (person.boxes, person.fallback) == (581, False)
    assert [one.fallback for one in point.classes] == [one.boxes < point.min_boxes for one in point.classes]
    with open_session("street", engine="onnxruntime") as session:
        assert session.threshold == point.thresholds(session.spec.classes)
    for name in ("unet", "cnn"):
        assert Bundle.open(name).operating_point is None


def test_only_the_same_weights_keep_the_operating_point(tmp_path: Path) -> None:
    from edgevision.export.packaged import keep_operating_point

    street = Bundle.open("street")
    assert street.spec.provenance is not None

    def made(name: str, source_sha256: str | None) -> Bundle:
        assert street.spec.provenance is not None
        spec = replace(street.spec, provenance=replace(street.spec.provenance, source_sha256=source_sha256))
        return write_bundle(tmp_path / name, spec, b"graph", street.golden())

    kept = keep_operating_point(street, made("same", street.spec.provenance.source_sha256))
    assert street.operating_point is not None
    assert kept.operating_point == replace(
        street.operating_point, graph_sha256=kept.graph("float").file.sha256
    )
    assert Bundle.open(kept.path).operating_point == kept.operating_point
    assert keep_operating_point(street, made("other", "0" * 64)).operating_point is None
    assert keep_operating_point(street, made("unknown", None)).operating_point is None
    assert (
        keep_operating_point(None, made("first", street.spec.provenance.source_sha256)).operating_point
        is None
    )
