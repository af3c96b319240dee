"""`edgevision run` with lines, zones and filters."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgevision.analytics.options import AnalyticsOptions
from edgevision.cli.commands.run import command
from edgevision.cli.options.analytics import open_analytics
from edgevision.errors import EdgevisionError, MissingExtraError, UsageError
from edgevision.sinks.opening import write_clip
from tests.doubles import MemorySource, detector

WIDTH, HEIGHT = 128, 64
NOTHING = AnalyticsOptions()


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, (SystemExit, EdgevisionError)):
        raise result.exception
    return result


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Bright enough that the model's one box, which stands still, has a score of about 0.9."""
    frames = (np.full((HEIGHT, WIDTH, 3), 250, np.uint8) for _ in range(10))
    path = tmp_path / "in.mp4"
    write_clip(path, frames, (WIDTH, HEIGHT), fps=10)
    return path


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_identities_and_events_are_in_the_lines(brightness_bundle: Path, clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("trackers")
    jsonl, video = tmp_path / "out.jsonl", tmp_path / "out.mp4"
    places = ("--zone", "lamp post=0,0,1,0,1,1,0,1", "--line", "0.1,0,0.1,1")
    result = run(brightness_bundle, clip, *places, "--jsonl", jsonl, "-o", video)
    assert result.exit_code == 0, result.output
    lines = lines_of(jsonl)
    assert [line["detections"][0]["id"] for line in lines] == [None] + [1] * 9
    events = [event for line in lines for event in line["events"]]
    assert events == [
        {"event": "appeared", "place": "lamp post", "id": 1, "class": "lamp", "at": pytest.approx(0.1)}
    ]
    assert "lamp post        inside 1; entered 0, appeared 1" in result.output
    assert "line 1           all          in     0 out     0" in result.output
    assert video.exists()


def test_filters_need_no_tracker(brightness_bundle: Path, clip: Path, tmp_path: Path) -> None:
    jsonl = tmp_path / "out.jsonl"
    # The box is 64 x 64 of 128 x 64 pixels.
    assert run(brightness_bundle, clip, "--max-area", "0.4", "--jsonl", jsonl).exit_code == 0
    assert [line["detections"] for line in lines_of(jsonl)] == [[]] * 10
    assert run(brightness_bundle, clip, "--only", "lamp", "--jsonl", jsonl).exit_code == 0
    assert all(len(line["detections"]) == 1 and "events" not in line for line in lines_of(jsonl))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "person"], "no class 'person'; expected one of: lamp"),
        (["--min-area", "0.5", "--max-area", "0.1"], "shares of the frame"),
        (["--line", "1,2,3"], "expected pairs of numbers"),
        (["--line", "0,0,500,10"], "outside the frame; expected at most 128x64"),
        (["--zone", "0,0,10,10"], "three or more"),
        (["--line", "a=0,0,9,9", "--line", "a=0,9,9,0"], "2 lines are called 'a'"),
    ],
)
def test_invalid_input_is_reported(
    brightness_bundle: Path, clip: Path, arguments: list[str], message: str
) -> None:
    pytest.importorskip("trackers")
    error = run(brightness_bundle, clip, *arguments).exception
    assert isinstance(error, UsageError)
    assert message in str(error)


def test_images_have_no_time(brightness_bundle: Path, tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    error = run(brightness_bundle, tmp_path / "a.png", "--track").exception
    assert isinstance(error, UsageError)
    assert "images, which have no time" in str(error)


def test_without_the_library_the_commands_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    analytics = AnalyticsOptions(track=True)
    with pytest.raises(MissingExtraError, match=r"'edgevision\[track\]' && pip install --no-deps trackers"):
        open_analytics(analytics, detector(), MemorySource(1), 0.25)


def test_by_itself_nothing_is_followed() -> None:
    assert open_analytics(NOTHING, detector(), MemorySource(1), 0.4).min_confidence == 0.4


def test_a_high_threshold_holds_for_the_beginning_of_identities() -> None:
    pytest.importorskip("trackers")
    analytics = AnalyticsOptions(track=True)
    assert open_analytics(analytics, detector(), MemorySource(1), 0.7).min_confidence == 0.1
