"""Kill runs while they write ``-o out.mp4``; check that each file plays and measure the loss.

    python -m benchmarks.killed_videos [--kills 20] [--seed 0]

A process runs the packaged `cnn` on a clip, with `-o` and `--jsonl`, and is killed (SIGKILL) at a random moment. A
frame is lost if the JSON lines have it and the video does not. ffprobe reads the file; Chromium, if installed, plays it
and seeks to its end. Exit code 1 if a file does not play, or if more than two seconds are lost.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

FPS, SIZE_WH, CLIP_S = 25, (320, 240), 400
MOST_LOST_S = 2.0
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
WEIGHTS = Path(__file__).resolve().parents[1] / "edgevision" / "weights" / "cnn.safetensors"
PLAY = """(url) => new Promise((resolve) => {
  const video = Object.assign(document.createElement("video"), { muted: true, src: url, preload: "auto" });
  document.body.append(video);
  const answer = (message) => resolve({ message, seconds: video.duration, width: video.videoWidth });
  video.onerror = () => answer("error " + (video.error ? video.error.message : ""));
  video.onloadeddata = () => {
    video.onseeked = () => video.play().then(() => answer("played"), (error) => answer(String(error)));
    video.currentTime = Math.max(0, video.duration - 0.2);
  };
  setTimeout(() => answer("nothing happened"), 20000);
})"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one killed run."""

    done: int
    """Frames in the JSON lines."""
    kept: int
    """Frames in the video, counted by ffprobe."""
    played: str
    """Chromium's message; "played" means success."""

    @property
    def lost_s(self) -> float:
        """Seconds missing at the end of the video."""
        return max(0, self.done - self.kept) / FPS

    @property
    def good(self) -> bool:
        """True if the file plays and the loss is within the limit."""
        return self.played in ("played", "no browser") and self.lost_s <= MOST_LOST_S


def write_clip(path: Path) -> None:
    """Write a clip with a moving object."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, SIZE_WH)
    texture = np.random.default_rng(0).integers(0, 255, (SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
    texture = np.asarray(cv2.GaussianBlur(texture, (0, 0), 4), np.uint8)
    for index in range(FPS * CLIP_S):
        writer.write(np.roll(texture, 3 * index, axis=1))
    writer.release()


def killed_run(bundle: Path, clip: Path, folder: Path, seconds: float) -> tuple[Path, int]:
    """Kill a run `seconds` after its video file appears; returns the video and the number of frames done."""
    video, lines = folder / "out.mp4", folder / "found.jsonl"
    command = [sys.executable, "-m", "edgevision", "run", str(bundle), str(clip), "-o", str(video)]
    process = subprocess.Popen([*command, "--jsonl", str(lines)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not video.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the run exited ({process.returncode}) before its video file appeared")
            time.sleep(0.01)
        time.sleep(seconds)
        if process.poll() is not None:
            raise SystemExit("the run ended before it was killed: make the clip longer")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return video, lines.read_bytes().count(b"\n") if lines.exists() else 0


def frames_by_ffprobe(video: Path) -> int:
    """Number of decodable frames; -1 if ffprobe reports an error."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-of", "csv=p=0"]
    done = subprocess.run(
        [*command, "-show_entries", "stream=nb_read_frames", str(video)],
        capture_output=True,
        text=True,
        check=False,
    )
    text = done.stdout.strip().strip(",")
    return int(text) if done.returncode == 0 and text.isdigit() else -1


@contextmanager
def browser_page(folder: Path) -> Iterator[Any]:
    """A page that may open files of `folder`; None without a browser or its driver."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        path = None
    if path is None:
        yield None
        return
    (folder / "page.html").write_text("<!doctype html><body></body>")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((folder / "page.html").as_uri())
        yield page
        browser.close()


def outcomes(kills: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Kill `kills` runs and check the files of each."""
    bundle, clip, moments = folder / "cnn", folder / "clip.avi", random.Random(seed)
    command = [sys.executable, "-m", "edgevision", "export", "cnn", "--checkpoint", str(WEIGHTS)]
    subprocess.run([*command, "-o", str(bundle)], check=True, capture_output=True)
    write_clip(clip)
    with browser_page(folder) as page:
        for number in range(kills):
            place = folder / f"{number}"
            place.mkdir()
            video, done = killed_run(bundle, clip, place, moments.uniform(0, 5))
            played = "no browser" if page is None else str(page.evaluate(PLAY, video.as_uri())["message"])
            yield Outcome(done, frames_by_ffprobe(video), played)


def main() -> None:
    """Kill the runs, check the files and print a line for each run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        for outcome in outcomes(options.kills, options.seed, Path(folder)):
            found.append(outcome)
            print(
                f"{'ok  ' if outcome.good else 'FAIL'} {outcome.done:>5} frames done, {outcome.kept:>5} in the video,"
                f" {outcome.lost_s:.2f} s lost; {outcome.played}",
                flush=True,
            )
    good = sum(outcome.good for outcome in found)
    print(f"{good} of {len(found)} good; maximum loss: {max(outcome.lost_s for outcome in found):.2f} s")
    sys.exit(good < len(found))


if __name__ == "__main__":
    main()
