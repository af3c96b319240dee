"""A fleet of three local nodes of Ray, of which one dies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgevision.cli.commands.fleet.fleet import command
from edgevision.errors import MissingExtraError

PATIENCE_S = 240


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("edgevision.fleet.cluster.importlib.import_module", missing)
    result = CliRunner().invoke(command, ["bench", "cnn", "--address", "local", "--records", str(tmp_path)])
    assert isinstance(result.exception, MissingExtraError)
    assert "pip install 'edgevision[fleet]'" in str(result.exception)


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE_S)
def test_two_records_and_one_loss_when_a_node_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    program = [sys.executable, "-m", "tests.fleet.three_nodes", str(tmp_path)]
    subprocess.run(program, check=True, capture_output=True, timeout=2 * PATIENCE_S)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["code"] == 2, result["errors"]
    assert result["seconds"] < PATIENCE_S
    records = sorted(path.name for path in (tmp_path / "records").iterdir())
    assert [name[:8] for name in records] == ["board-0-", "board-2-"]
    assert "1 of 3 devices gave no record" in result["errors"]
    assert "lost during bench" in result["errors"]
    assert result["output"].count("| cnn onnxruntime float, board-") == 2
    assert "<h2>Devices</h2>" in (tmp_path / "fleet.html").read_text()
