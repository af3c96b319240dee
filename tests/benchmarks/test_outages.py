"""A real RTSP server is killed, hung, frozen, darkened and resized while a pipeline reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.rtsp.camera import PACKAGES, is_installed, read_number

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_number_with_a_wrong_checksum_is_ignored() -> None:
    def frame(code: int) -> np.ndarray:
        row = np.repeat([(code >> (23 - n) & 1) * 200 + 20 for n in range(24)], 13).astype(np.uint8)
        return np.tile(np.pad(row, (0, 8))[None, :, None], (240, 1, 3))

    number = 4711
    check = (number * 167 + (number >> 8) * 59 + 91) & 0xFF
    assert read_number(frame(number << 8 | check)) == number
    assert read_number(frame(number << 8 | check ^ 1)) is None
    assert read_number(frame((number ^ 1) << 8 | check)) is None
    assert read_number(np.zeros((240, 320, 3), np.uint8)) is None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_outages_are_survived_and_counted() -> None:
    if not is_installed():
        reason = f"no RTSP server: sudo apt install --no-install-recommends {PACKAGES}"
        if os.environ.get("EDGEVISION_REQUIRE_RTSP"):
            pytest.fail(reason)
        pytest.skip(reason)
    command = [sys.executable, "-m", "benchmarks.outages"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=580)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok    20 outages counted, 20 made" in done.stdout
    assert "ok    0 of " in done.stdout
