"""A model for commands to run."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def brightness_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `tests.brightness`; skips where onnx is not installed to make it."""
    pytest.importorskip("onnx")
    from tests.brightness import write_brightness_bundle

    path = tmp_path_factory.mktemp("model") / "brightness"
    write_brightness_bundle(path)
    return path
