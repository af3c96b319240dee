"""The traced paths of a frame, settings and a checkpoint match the diagrams of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

import edgevision
from benchmarks.ways import Way, way_of_a_checkpoint, way_of_a_frame, ways_of_settings
from tests.brightness import SIDE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "architecture.md"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (SIDE, SIDE))
    for _ in range(3):
        writer.write(np.full((SIDE, SIDE, 3), 200, np.uint8))
    writer.release()
    return str(path)


def drawn(name: str) -> list[str]:
    """Lines of the diagram with the given name."""
    (block,) = re.findall(rf"%% {name}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(block).splitlines()


def test_a_frame_passes_ten_modules_without_a_return(brightness_bundle: Path, clip: str) -> None:
    way = way_of_a_frame(str(brightness_bundle), clip)
    assert way.drawn() == drawn("frame")
    assert way.returns == 0
    assert len(set(way.modules)) <= 10


def test_a_setting_passes_few_modules_without_a_return(brightness_bundle: Path, clip: str) -> None:
    ways: dict[str, Way] = ways_of_settings(str(brightness_bundle), clip)
    assert {name: way.drawn() for name, way in ways.items()} == {name: drawn(name) for name in ways}
    assert {name: way.returns for name, way in ways.items()} == dict.fromkeys(ways, 0)
    counts = {name: len(set(way.modules)) for name, way in ways.items()}
    assert counts["threshold"] <= 5
    assert counts["source"] <= 5
    assert counts["precision"] <= 6


@pytest.mark.slow
def test_the_path_of_a_checkpoint_matches_the_diagram() -> None:
    weights = Path(edgevision.__file__).parent / "weights" / "cnn.safetensors"
    assert way_of_a_checkpoint("cnn", weights).drawn() == drawn("checkpoint")
