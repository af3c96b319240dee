"""The weights inside the package: small, readable by their recipe, with a card, a record, and no local paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors

import edgevision
from edgevision.models.recipe import load_recipe

WEIGHTS = sorted((Path(edgevision.__file__).parent / "weights").glob("*.safetensors"))
RECORDS = Path(__file__).resolve().parents[2] / "benchmarks" / "training"


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_packaged_weights(path: Path) -> None:
    with safetensors.safe_open(str(path), "pt") as file:
        metadata = file.metadata()
    source = load_recipe(metadata["recipe"]).load(path)
    assert source.classes == tuple(json.loads(metadata["names"]))
    assert path.stat().st_size < 8 << 20
    assert path.with_suffix(".md").read_text().startswith(f"# {path.stem}\n")
    assert ': "/' not in metadata["job"]
    for name in ("config.json", "metrics.csv", "curves.png"):
        assert (RECORDS / path.stem / name).is_file()


def test_there_are_packaged_weights() -> None:
    assert "cnn" in {path.stem for path in WEIGHTS}
