"""The examples of docs/recipes.md run unchanged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgevision.bundle.folder import Bundle
from edgevision.cli.root import edgevision

PAGE = Path(__file__).resolve().parent.parent / "docs" / "recipes.md"
TASKS = {0: "classify", 1: "detect", 2: "pose", 3: "detect"}


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_example_is_a_recipe_of_at_most_40_lines(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from edgevision.models.recipe import load_recipe

    assert len(blocks()) == len(TASKS)
    for number, block in enumerate(blocks()):
        file = tmp_path / f"example{number}.py"
        file.write_text(block)
        assert load_recipe(str(file)).task == TASKS[number]
        assert sum(bool(line.strip()) for line in block.splitlines()) <= 40


@pytest.mark.slow
@pytest.mark.parametrize("number", TASKS)
def test_every_example_exports_and_runs(number: int, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    file, bundle = tmp_path / "example.py", tmp_path / "bundle"
    file.write_text(blocks()[number])
    for line in (["export", str(file), "-o", str(bundle)], ["run", str(bundle), "demo:", "--limit", "2"]):
        assert CliRunner().invoke(edgevision, line, catch_exceptions=False).exit_code == 0
    found = Bundle.open(bundle)
    assert all(record.passed for graph in found.manifest.graphs for record in graph.verifications)
    scores = found.golden().answers[0 if found.spec.task == "classify" else 1]
    assert (scores > 0.01).any()
