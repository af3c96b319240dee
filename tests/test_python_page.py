"""The examples of docs/python.md run unchanged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import edgevision
from edgevision.sources.image_files import write_image
from edgevision.sources.synthetic_camera import SyntheticCamera
from tests.generators import generator, write_generator
from tests.inference.clips import write_clip

PAGE = Path(__file__).resolve().parent.parent / "docs" / "python.md"


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL")
    pytest.importorskip("trackers")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEVISION_CACHE", str(tmp_path / "cache"))
    frames = [SyntheticCamera().frame(index) for index in (130, 131, 132)]
    write_image(Path("bus.jpg"), frames[0])
    write_image(Path("photos/a.jpg"), frames[1])
    write_clip(Path("street.mp4"), frames)
    write_generator(Path("digits"), generator(classes=("one", "two", "three")))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)  # the page is ours
    assert len(names["prediction"]) >= 1
    assert isinstance(names["first"], edgevision.Prediction)
    assert len(names["several"]) == 2
    assert [path.name for path in names["files"]] == [f"s7-{number:05d}.png" for number in range(4)]
    records = [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()]
    assert [record["source"] for record in records].count("street.mp4") == 3
    assert all(entry["score"] >= 0.4 for record in records for entry in record["detections"])
