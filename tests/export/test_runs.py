from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import edgevision
from edgevision.errors import CheckpointError
from edgevision.export.runs import Trained, model_name, trained_from


def run_folder(path: Path, metadata: dict[str, str]) -> Path:
    path.mkdir()
    safetensors.numpy.save_file({"a": np.zeros(1, np.float32)}, path / "best.safetensors", metadata)
    return path


def test_a_file_is_used_unchanged(tmp_path: Path) -> None:
    assert trained_from(tmp_path / "x.pt") == Trained(tmp_path / "x.pt")
    assert model_name(tmp_path / "x.pt") == "x"


def test_weights_that_left_their_run_keep_their_size(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "street", {"size": "[416, 416]"})
    published = (run / "best.safetensors").rename(tmp_path / "street.safetensors")
    assert trained_from(published) == Trained(published, (416, 416))
    assert trained_from(tmp_path / "none.safetensors") == Trained(tmp_path / "none.safetensors")
    packaged = Path(edgevision.__file__).parent / "weights"
    assert trained_from(packaged / "street.safetensors").size_wh == (416, 416)


@pytest.mark.parametrize(
    ("size", "expected"),
    [("[384, 384]", (384, 384)), ("[0, 3]", None), ("384", None), ("[1.5, 2]", None), ("null", None)],
)
def test_a_run_gives_its_best_weights_and_their_size(
    tmp_path: Path, size: str, expected: tuple[int, int] | None
) -> None:
    run = run_folder(tmp_path / "street", {"size": size})
    assert trained_from(run) == Trained(run / "best.safetensors", expected)
    assert model_name(run / "best.safetensors") == "street"


def test_folders_that_hold_no_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"without best\.safetensors"):
        trained_from(tmp_path)
    (tmp_path / "best.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="cannot be read"):
        trained_from(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        trained_from(run_folder(tmp_path / "other", {"size": "{"}))
