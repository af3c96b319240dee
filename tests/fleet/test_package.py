"""A bundle is shipped as bytes with a hash, and kept once."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from edgevision.bundle.folder import Bundle
from edgevision.errors import BundleError
from edgevision.fleet.package import keep, kept, package


def test_a_bundle_is_the_same_after_the_journey(tmp_path: Path) -> None:
    bundle = Bundle.open("cnn")
    packed = package(bundle)
    assert packed == package(bundle), "equal bundles have equal hashes"
    assert packed.graphs == {entry.file.sha256 for entry in bundle.manifest.graphs}
    assert kept(packed.digest) is None
    path = keep(packed.digest, packed.data)
    assert kept(packed.digest) == path
    assert Bundle.open(path).manifest == bundle.manifest
    assert {file.name for file in path.iterdir()} == {f.name for f in bundle.path.iterdir() if f.is_file()}
    note = path / "note"
    note.write_text("in use")
    keep(packed.digest, packed.data)
    assert note.exists(), "another node of this machine may use it"


def test_a_damaged_bundle_is_fetched_again() -> None:
    packed = package(Bundle.open("cnn"))
    path = keep(packed.digest, packed.data)
    (path / "model.onnx").write_bytes(b"damaged")
    assert kept(packed.digest) is None
    assert kept(keep(packed.digest, packed.data).name) == path


def test_other_bytes_than_those_of_the_hash_are_an_error() -> None:
    with pytest.raises(BundleError, match="arrived with sha256"):
        keep("0" * 64, b"something else")


@pytest.mark.parametrize("name", ["../outside", "a/b", ".."])
def test_a_file_stays_in_its_folder(name: str) -> None:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr(name, "x")
    data = memory.getvalue()
    with pytest.raises(BundleError, match="names without a path"):
        keep(hashlib.sha256(data).hexdigest(), data)
