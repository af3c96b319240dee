"""Line crossings in OpenCV's `vtest.avi`: edgevision's count compared with a count by eye.

``python benchmarks/counting.py BUNDLE VIDEO``. The line runs from 560,150 to 560,440, across the
road. `counting.csv` lists each crossing with its frame and direction. It was counted on images of every tenth frame
(every third where people meet) that show only the line. Exit code 1 if a count differs by more than one.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

from edgevision import open_session, open_source, run_pipeline
from edgevision.analytics.analytics import Analytics
from edgevision.analytics.filters import DetectionFilter
from edgevision.analytics.places import Line
from edgevision.analytics.tracker import Tracker
from edgevision.sinks.frame_result import FrameResult

LINE = Line("road", (560, 150), (560, 440))
MOST_APART = 12
"""Maximum frames between the two moments of one crossing."""
MOST_DIFFERENCE = 1


@dataclass(frozen=True, slots=True)
class Crossing:
    """A crossing of the line."""

    frame: int
    direction: str
    who: str


def counted_by_eye() -> list[Crossing]:
    """The rows of `counting.csv`."""
    with Path(__file__).with_suffix(".csv").open(newline="") as file:
        return [Crossing(int(row["frame"]), row["direction"], row["who"]) for row in csv.DictReader(file)]


def counted_by_program(bundle: str, video: str) -> list[Crossing]:
    """Count persons only, with the other settings of `edgevision run --line`."""
    found: list[Crossing] = []

    def collect(processed: FrameResult) -> None:
        if processed.observation is not None:
            found.extend(
                Crossing(processed.frame.index, str(event.direction), f"identity {event.identity}")
                for event in processed.observation.events
            )

    with open_source(video) as source, open_session(bundle) as session:
        select = DetectionFilter(frozenset({session.spec.classes.index("person")}))
        analytics = Analytics(select=select, tracker=Tracker(source.fps), lines=[LINE])
        run_pipeline(session, source, on_frame=collect, analytics=analytics)
    return found


def main() -> None:
    """Print both counts side by side and check that they agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("video")
    arguments = parser.parse_args()
    eye, program = counted_by_eye(), counted_by_program(arguments.bundle, arguments.video)
    left = list(program)
    for crossing in eye:
        near = [
            other
            for other in left
            if other.direction == crossing.direction and abs(other.frame - crossing.frame) <= MOST_APART
        ]
        match = min(near, key=lambda other: abs(other.frame - crossing.frame), default=None)
        if match is not None:
            left.remove(match)
        counted = "missed" if match is None else f"{match.who} in frame {match.frame}"
        print(f"{crossing.frame:4} {crossing.direction:4} {counted:26} {crossing.who}")
    for extra in left:
        print(f"{extra.frame:4} {extra.direction:4} {extra.who:26} no one")
    agreed = True
    for name in ("in", "out", "all"):
        ours = sum(name in (c.direction, "all") for c in program)
        theirs = sum(name in (c.direction, "all") for c in eye)
        agreed &= abs(ours - theirs) <= MOST_DIFFERENCE
        print(f"{name:4} by edgevision {ours:3}, by eye {theirs:3}")
    sys.exit(0 if agreed else 1)


if __name__ == "__main__":
    main()
