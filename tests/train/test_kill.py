"""SIGKILL at random moments: no corrupt checkpoint, and the same result as an undisturbed run."""

from __future__ import annotations

import csv
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

KILLS = 20
EPOCHS = 60


def started(run: Path, *options: object) -> subprocess.Popen[str]:
    words = ["train", "cnn", "-o", run, "--device", "cpu", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "edgevision", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        env={"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )


def table(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in ("ms_per_step", "minutes")} for row in rows]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_twenty_kills_lose_nothing(class_data: Path, tmp_path: Path) -> None:
    fresh = ("--data", class_data, "--size", 16, "--batch", 8, "--epochs", EPOCHS)
    whole = started(tmp_path / "whole", *fresh)
    _, errors = whole.communicate()
    assert whole.returncode == 0, errors
    run, moments = tmp_path / "killed", random.Random(0)
    process = started(run, *fresh)
    for kill in range(KILLS):
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch"):
                break
        else:
            pytest.fail(f"the run ended by itself before kill {kill}: raise EPOCHS")
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        if (run / "last.ckpt").exists():
            content = torch.load(run / "last.ckpt", weights_only=True)
            assert content["progress"]["step"] % 6 == 0
            assert len(table(run)) >= content["progress"]["step"] // 6
        process = started(run, "--resume")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert table(run) == table(tmp_path / "whole")
    assert not list(run.glob(".*"))
