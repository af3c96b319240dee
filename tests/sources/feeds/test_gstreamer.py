"""Frames from a program's standard output, its error messages, and time-outs."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.sources.feeds.gstreamer import LaunchFeed

HEADER = "YUV4MPEG2 C420jpeg W{0} H{1} Ip F15:1 A1:1"


def launcher(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Path:
    """A gst-launch-1.0 that is ours; it writes its arguments to a file."""
    program = folder / "gst-launch-1.0"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys, time\n"
        f"open({str(folder / 'arguments')!r}, 'w').write('\\n'.join(sys.argv[1:]))\n"
        "def head(w, h): out(f'" + HEADER.format("{w}", "{h}") + "\\n'.encode())\n"
        "pipe = open(int(sys.argv[-2].removeprefix('fd=')), 'wb', buffering=0)\n"
        "def out(data): pipe.write(data)\n"
        "def picture(w, h, level): out(b'FRAME\\n' + bytes([level]) * (w * h) + b'\\x80' * (w * h // 2))\n"
        + body
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder / "arguments"


def feed(pipeline: str = "source", timeout_s: float = 10.0) -> LaunchFeed:
    return LaunchFeed(pipeline, connect_timeout_s=timeout_s, read_timeout_s=timeout_s)


def test_frames_and_a_change_of_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        "head(4, 2); picture(4, 2, 126); picture(4, 2, 16)\nhead(2, 4); picture(2, 4, 235); time.sleep(30)\n"
    )
    arguments = launcher(tmp_path, monkeypatch, body)
    opened = feed("videotestsrc pattern='a b' ! x")
    frames = [opened.read() for _ in range(3)]
    opened.close()
    assert opened.fps == 15
    assert [frame.size_wh for frame in frames] == [(4, 2), (4, 2), (2, 4)]
    pictures = [frame.image_bgr for frame in frames]
    assert [picture.shape for picture in pictures] == [(2, 4, 3), (2, 4, 3), (4, 2, 3)]
    assert [int(picture.max()) for picture in pictures] == pytest.approx([128, 0, 255], abs=1)
    assert np.ptp(pictures[0]) == 0
    assert frames[1].thumbnail.max() == 0
    words = arguments.read_text().split("\n")
    assert words[:6] == ["-q", "videotestsrc", "pattern=a b", "!", "x", "!"]
    assert words[-5:-2] == ["y4menc", "!", "fdsink"]


def test_a_program_with_many_messages_is_not_blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        "sys.stderr.write('x' * 200_000)\nhead(4, 2)\n"  # more than a pipe holds, and before anything else
        "for n in range(40):\n"
        "    sys.stderr.write('x' * 9999)\n    sys.stdout.write('y' * 9999)\n    picture(4, 2, 100 + n)\n"
    )
    launcher(tmp_path, monkeypatch, body)
    opened = feed()
    levels = [int(opened.read().thumbnail.max()) for _ in range(40)]
    assert levels == list(range(84, 124))
    with pytest.raises(SourceError, match=r"^the pipeline ended$"):
        opened.read()
    opened.close()


def test_words_are_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher(tmp_path, monkeypatch, "head(4, 2)\nwhile True: sys.stderr.write('still starting\\n')\n")
    opened = LaunchFeed("source", connect_timeout_s=10, read_timeout_s=0.5)
    with pytest.raises(SourceError, match=r"^no data within 0\.5 s$"):
        opened.read()
    opened.close()


def test_a_program_that_closes_its_messages_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (
        "head(4, 2); picture(4, 2, 100); sys.stderr.close(); os.close(2)\n"
        "time.sleep(0.3); picture(4, 2, 101); time.sleep(30)\n"
    )
    launcher(tmp_path, monkeypatch, body)
    opened = feed()
    began_s = time.thread_time()
    assert [int(opened.read().thumbnail.max()) for _ in range(2)] == [84, 85]
    assert time.thread_time() - began_s < 0.15, "it waits, and does not ask over and over"
    opened.close()


def test_a_programs_last_words_are_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = "Setting pipeline\nERROR: from element /GstPipeline:p/Src:s: No cameras available\nmore\n"
    body = f"sys.stderr.write({printed!r})\n"
    launcher(tmp_path, monkeypatch, body)
    with pytest.raises(SourceError, match=r"^the pipeline ended: No cameras available$"):
        feed()


def test_silence_ends_by_its_time_out_and_the_program_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher(tmp_path, monkeypatch, "head(4, 2); picture(4, 2, 99); time.sleep(30)\n")
    opened = feed(timeout_s=5.0)
    opened.read()
    opened._timeout_s = 0.05
    began_s = time.monotonic()
    with pytest.raises(SourceError, match=r"no data within 0\.05 s"):
        opened.read()
    opened.close()
    opened.close()
    assert time.monotonic() - began_s < 4
    assert opened._program.returncode is not None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("out(b'hello\\n')\n", "wrote data other than frames"),
        ("out(b'h' * 5000); time.sleep(9)\n", "wrote data other than frames"),
        ("head(5, 3)\n", r"frames are 5x3; expected even numbers: .*width=4,height=2"),
    ],
    ids=["a word", "bytes", "odd"],
)
def test_data_other_than_frames_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    launcher(tmp_path, monkeypatch, body)
    with pytest.raises(SourceError, match=message):
        feed()


def test_a_missing_program_names_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SourceError, match="gst-launch-1.0 is not installed, .* sudo apt install gstreamer1.0-tools"
    ):
        feed()


def test_unterminated_quotes_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher(tmp_path, monkeypatch, "")
    with pytest.raises(SourceError, match="cannot split the pipeline .*: No closing quotation"):
        feed("videotestsrc 'x")
