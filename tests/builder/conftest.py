"""A model for tests of builders."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def brightness(tmp_path: Path) -> Path:
    """The bundle of `tests.brightness`, one for each test: builders write into it."""
    pytest.importorskip("onnx")
    from tests.brightness import write_brightness_bundle

    write_brightness_bundle(tmp_path / "brightness")
    return tmp_path / "brightness"
