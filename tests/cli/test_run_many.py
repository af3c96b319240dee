"""`edgevision run` with several sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgevision.cli.commands.run import command
from edgevision.cli.options.sources import named_sources
from edgevision.errors import EdgevisionError, SourceError, UsageError
from edgevision.sinks.opening import write_clip
from edgevision.sources.opening import open_source

WIDTH, HEIGHT = 128, 64


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, (SystemExit, EdgevisionError)):
        raise result.exception
    return result


def clip(path: Path, count: int, level: int) -> Path:
    frames = (np.full((HEIGHT, WIDTH, 3), level, np.uint8) for _ in range(count))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_clip(path, frames, (WIDTH, HEIGHT), fps=10)
    return path


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_source_has_its_lines_and_its_video(brightness_bundle: Path, tmp_path: Path) -> None:
    dark, bright = clip(tmp_path / "a" / "x.mp4", 12, 60), clip(tmp_path / "b" / "x.mp4", 7, 240)
    jsonl, folder = tmp_path / "out.jsonl", tmp_path / "out"
    result = run(
        brightness_bundle, f"yard={dark}", f"door={bright}", "--threshold", 0, "--jsonl", jsonl, "-o", folder
    )
    assert result.exit_code == 0, result.output
    lines = lines_of(jsonl)
    for name, count, level in (("yard", 12, 60), ("door", 7, 240)):
        own = [line for line in lines if line["source"] == name]
        assert [line["frame"] for line in own] == list(range(count))
        # The frame over two, with grey of 114 above and below.
        scores = [line["detections"][0]["score"] for line in own]
        assert scores == pytest.approx([(level / 2 + 57) / 255] * count, abs=0.02)
        with open_source(folder / f"{name}.mp4") as video:
            assert video.frame_count == count
        assert f"{name}: {count} frames" in result.output
    assert "19 frames in" in result.output


def test_an_image_beside_a_video_gets_a_folder(brightness_bundle: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.jpg"), np.full((48, 64, 3), 200, np.uint8))
    sources = (f"yard={clip(tmp_path / '1.mp4', 2, 100)}", f"door.jpg={tmp_path / 'p.jpg'}")
    result = run(brightness_bundle, *sources, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["door.jpg", "yard.mp4"]
    assert (tmp_path / "out" / "door.jpg" / "p.jpg").is_file()


def test_cameras_share_the_engine(brightness_bundle: Path, tmp_path: Path) -> None:
    jsonl = tmp_path / "out.jsonl"
    cameras = [f"c{n}=demo:64x64@50" for n in range(3)]
    result = run(brightness_bundle, *cameras, "--limit", 30, "--jsonl", jsonl, "--max-age-ms", 5000)
    assert result.exit_code == 0, result.output
    lines = lines_of(jsonl)
    assert len(lines) == 30
    assert {line["source"] for line in lines} == {"c0", "c1", "c2"}


def test_one_of_several_cameras_may_be_absent(brightness_bundle: Path, tmp_path: Path) -> None:
    jsonl = tmp_path / "out.jsonl"
    result = run(brightness_bundle, "demo:64x64@50", "/dev/video63", "--limit", 10, "--jsonl", jsonl)
    assert result.exit_code == 0, result.output
    assert {line["source"] for line in lines_of(jsonl)} == {"demo:64x64@50"}
    assert "does not answer" in result.output
    assert isinstance(run(brightness_bundle, "/dev/video63").exception, SourceError)


def test_counts_are_reported_by_source(brightness_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("trackers")
    first, second = clip(tmp_path / "1.mp4", 10, 250), clip(tmp_path / "2.mp4", 10, 250)
    result = run(brightness_bundle, f"a={first}", f"b={second}", "--zone", "all=0,0,1,0,1,1,0,1")
    assert "a: all              inside 1; entered 0, appeared 1" in result.output
    assert "b: all              inside 1; entered 0, appeared 1" in result.output


def test_invalid_input_is_reported(brightness_bundle: Path, tmp_path: Path) -> None:
    one, two = clip(tmp_path / "1.mp4", 2, 100), clip(tmp_path / "2.mp4", 2, 100)

    def refused(*arguments: object) -> str:
        error = run(brightness_bundle, *arguments).exception
        assert isinstance(error, UsageError)
        return str(error)

    before = one.read_bytes()
    assert "source file" in refused(f"a={one}", "-o", one)
    assert one.read_bytes() == before
    assert "2 sources cannot share" in refused(one, two, "-o", tmp_path / "out.mp4")
    assert "ends in .xyz" in refused(one, two, "-o", tmp_path / "out.xyz")
    assert "called 'a'; expected different names" in refused(f"a={one}", f"a={two}")
    assert "is out of range; expected" in refused(one, two, "--batch", 64)
    assert run(brightness_bundle, one, "--batch", "many").exit_code == 2
    assert isinstance(run(brightness_bundle, one, tmp_path / "none.mp4").exception, SourceError)


def texts(given: tuple[str, ...]) -> tuple[tuple[str | None, str], ...]:
    return tuple((name, address.text) for name, address in named_sources(given))


def test_sources_have_names_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd=name.mp4").touch()
    assert texts(("0", "0", "door=rtsp://u:p@h/a?k=v", "rtsp://h/x?k=v", "odd=name.mp4")) == (
        ("0", "0"),
        ("0 (2)", "0"),
        ("door", "rtsp://u:p@h/a?k=v"),
        ("rtsp://h/x", "rtsp://h/x?k=v"),
        ("odd=name.mp4", "odd=name.mp4"),
    )
    pipeline = "gst:videotestsrc pattern=ball ! videoconvert"
    assert texts((pipeline, "0=1", "1")) == ((pipeline, pipeline), ("0", "1"), ("1", "1"))
    assert texts(("rtsp://u:p@h/a",)) == ((None, "rtsp://u:p@h/a"),)
