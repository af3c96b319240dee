"""Exports my_model.py, verifies the bundle and runs it: pytest test_my_model.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgevision
from edgevision.cli.root import edgevision as command

RECIPE = Path(__file__).with_name("my_model.py")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported bundle, which is written only if graph and PyTorch agree on real images."""
    path = tmp_path_factory.mktemp("bundle") / "my_model"
    command(["export", str(RECIPE), "-o", str(path)], standalone_mode=False)
    return path


def test_every_engine_agrees_with_pytorch(bundle: Path) -> None:
    """`verify` compares each installed engine with the stored results of PyTorch, and raises if one differs."""
    command(["verify", str(bundle), "--seconds", "0"], standalone_mode=False)
    graphs = edgevision.Bundle.open(bundle).manifest.graphs
    assert all(record.passed for graph in graphs for record in graph.verifications)


def test_it_runs_on_an_image(bundle: Path) -> None:
    """Replace the random image by one of yours, and check what is found in it."""
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    with edgevision.load(str(bundle)) as model:
        prediction = model(image)
        assert all(found.name in model.classes for found in prediction)
    assert prediction.plot().shape[2] == 3
