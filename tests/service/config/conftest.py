"""A model and a file to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

WriteFile = Callable[[str], Path]


@pytest.fixture(scope="session")
def brightness_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `tests.brightness`, which knows one class, "lamp"; skips where onnx is not installed to make it."""
    pytest.importorskip("onnx")
    from tests.brightness import write_brightness_bundle

    path = tmp_path_factory.mktemp("model") / "brightness"
    write_brightness_bundle(path)
    return path


@pytest.fixture
def write_file(tmp_path: Path, brightness_bundle: Path) -> WriteFile:
    """Write ``cameras.toml`` in a folder where ``model`` is the bundle."""
    (tmp_path / "model").symlink_to(brightness_bundle)

    def write(text: str) -> Path:
        file = tmp_path / "cameras.toml"
        file.write_text(text)
        file.chmod(0o640)
        return file

    return write
