"""Each kind of fault that a conversion may make is caught, and by the values inside the graph named first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.verification.planted_faults import FAULTS, UNSEEN
from tests.verification.planting import planted_refusal, refused_by_outputs

FAST = [name for name, fault in FAULTS.items() if fault.base.startswith(("yolov8", "yolox", "end2end"))]
SLOW = [name for name in FAULTS if name not in FAST]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "verification.md"


def assert_refused(name: str, folder: Path) -> None:
    said = planted_refusal(FAULTS[name], folder)
    assert bool(said) == (name not in UNSEEN.get("export", ())), said
    if said:
        assert re.search(r"does not match the source model: the first tensor that differs is \S+: ", said)
        assert "--images DIR" in said
        assert not (folder / "faulty").exists()


@pytest.mark.parametrize("name", FAST)
def test_an_export_with_a_fault_is_refused(name: str, tmp_path: Path) -> None:
    assert_refused(name, tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SLOW)
def test_an_export_from_pytorch_with_a_fault_is_refused(name: str, tmp_path: Path) -> None:
    assert_refused(name, tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FAULTS)
def test_an_engine_with_a_fault_is_refused_by_its_outputs_alone(name: str, tmp_path: Path) -> None:
    said = refused_by_outputs(FAULTS[name], tmp_path)
    assert bool(said) == (name not in UNSEEN["outputs"]), said


def test_the_documentation_lists_them() -> None:
    text = PAGE.read_text()
    for name in FAULTS:
        assert f"| {name} |" in text
