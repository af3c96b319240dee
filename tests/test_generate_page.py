"""The recipe of docs/generate.md exports and makes images unchanged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgevision.bundle.folder import Bundle
from edgevision.cli.root import edgevision

PAGE = Path(__file__).resolve().parent.parent / "docs" / "generate.md"


def test_the_example_exports_and_makes_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert sum(bool(line.strip()) for line in block.splitlines()) <= 40
    Path("digits.py").write_text(block)
    for line in (
        "export digits.py -o digits --no-fp16",
        "generate digits --label 3 --seed 7 --count 4 -o threes",
    ):
        assert CliRunner().invoke(edgevision, line.split(), catch_exceptions=False).exit_code == 0
    assert all(
        record.passed
        for graph in Bundle.open(Path("digits")).manifest.graphs
        for record in graph.verifications
    )
    assert len(list(Path("threes").iterdir())) == 4
