"""A fleet of three local nodes of Ray, of which one dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
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
@pytest.mark.timeout(PATIENCE_S + 60)
@pytest.mark.filterwarnings("default")  # Ray's own
def test_two_records_and_one_loss_when_a_node_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False}
    fleet = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [fleet.add_node(num_cpus=1, resources={f"board-{n}": 1}) for n in range(3)]
        arguments = ["--address", fleet.address, "--engine", "onnxruntime", "--threads", "1", "--rounds", "1"]
        arguments += [
            "--seconds",
            "3",
            "--records",
            str(tmp_path / "records"),
            "--html",
            str(tmp_path / "fleet.html"),
        ]
        process = subprocess.Popen(
            [sys.executable, "-m", "edgevision", "fleet", "bench", "cnn", *arguments],
            env={**os.environ, "EDGEVISION_CACHE": str(tmp_path / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "board-1" in line and "verified" in line:
                fleet.remove_node(nodes[1], allow_graceful=False)
                break
        began_s = time.monotonic()
        output, rest = process.communicate(timeout=PATIENCE_S)
    finally:
        fleet.shutdown()
    text = "".join(lines) + rest
    assert process.returncode == 2, text
    assert time.monotonic() - began_s < PATIENCE_S
    records = sorted(path.name for path in (tmp_path / "records").iterdir())
    assert [name[:8] for name in records] == ["board-0-", "board-2-"]
    assert "1 of 3 devices gave no record" in text
    assert "lost during bench" in text
    assert output.count("| cnn onnxruntime float, board-") == 2
    assert "<h2>Devices</h2>" in (tmp_path / "fleet.html").read_text()
