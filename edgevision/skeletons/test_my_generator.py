"""Exports my_model.py, verifies the bundle and makes images: pytest test_my_model.py."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgevision
from edgevision.cli.root import edgevision as command

RECIPE = Path(__file__).with_name("my_model.py")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported bundle, which is written only if graph and PyTorch make the same images of the same noise."""
    path = tmp_path_factory.mktemp("bundle") / "my_model"
    command(["export", str(RECIPE), "-o", str(path)], standalone_mode=False)
    return path


def test_every_engine_agrees_with_pytorch(bundle: Path) -> None:
    """`verify` compares each installed engine with the stored images of PyTorch, and raises if one differs."""
    command(["verify", str(bundle), "--seconds", "0"], standalone_mode=False)
    graphs = edgevision.Bundle.open(bundle).manifest.graphs
    assert all(record.passed for graph in graphs for record in graph.verifications)


def test_it_makes_the_same_images_of_the_same_seed(bundle: Path, tmp_path: Path) -> None:
    """Look at the grid with your own weights."""
    with edgevision.load(str(bundle)) as model:
        made = model.generate(seed=1, count=4)
        assert (made.images == model.generate(seed=1, count=4).images).all()
        assert (made.images != model.generate(seed=2, count=4).images).any()
    made.save(tmp_path / "grid.png")
