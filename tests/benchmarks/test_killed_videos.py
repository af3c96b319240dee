"""Videos of runs that are killed while they write."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from benchmarks.killed_videos import FPS, Outcome, outcomes


def test_a_video_is_good_if_it_plays_and_loses_little() -> None:
    assert Outcome(100, 100 - 2 * FPS, "played").good
    assert not Outcome(100, 100 - 2 * FPS - 1, "played").good
    assert not Outcome(100, -1, "played").good
    assert not Outcome(100, 100, "error MEDIA_ERR_DECODE").good


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_runs_leave_videos_that_play(tmp_path: Path) -> None:
    if shutil.which("ffprobe") is None:
        if os.environ.get("EDGEVISION_REQUIRE_BROWSER"):
            pytest.fail("ffprobe is not installed")
        pytest.skip("ffprobe reads the videos")
    found = list(outcomes(3, 1, tmp_path))
    assert len(found) == 3
    assert all(outcome.good for outcome in found), found
