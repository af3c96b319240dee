"""Memory does not grow in twenty minutes of cameras that are added, removed and fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
MINUTES = float(os.environ.get("EDGEVISION_SOAK_MINUTES", "20"))


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.timeout(MINUTES * 60 + 600)
def test_memory_does_not_grow(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", str(MINUTES), "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "memory.png").stat().st_size > 10_000
