"""Builds whose calls take a set time, for processes of their own."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path

import numpy as np

from edgevision.benchmark.builds import Contender
from edgevision.benchmark.inputs import write_batches
from edgevision.contract.results import Outputs
from edgevision.contract.session import Frames, ReplaySession
from edgevision.contract.spec import FrameInput, ModelSpec, Provenance, classify_outputs
from edgevision.errors import EngineError

SPEC = ModelSpec(
    "timed",
    "classify",
    FrameInput((8, 8)),
    classify_outputs(1),
    ("a",),
    Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00"),
)


class Sleeping(ReplaySession):
    """Sleeps in each call."""

    def __init__(self, seconds: float) -> None:
        super().__init__(SPEC, [(np.ones((1, 1), np.float32),)])
        self.seconds = seconds

    def _infer(self, frames: Frames) -> Outputs:
        time.sleep(self.seconds)
        return super()._infer(frames)


class Dying(Sleeping):
    """Ends its process in the tenth call."""

    calls = 0

    def _infer(self, frames: Frames) -> Outputs:
        self.calls += 1
        if self.calls == 10:
            os._exit(3)
        return super()._infer(frames)


def open_sleeping(seconds: float) -> Sleeping:
    return Sleeping(seconds)


def open_dying() -> Dying:
    return Dying(0.001)


def refuse() -> Sleeping:
    raise EngineError("no such card\nin line 3")


def frames_in(folder: Path) -> Path:
    path = folder / "inputs.npz"
    write_batches(path, [np.zeros((1, 8, 8, 3), np.uint8)] * 2)
    return path


def sleeping(folder: Path, seconds: float) -> Contender:
    return Contender(f"{seconds} s", functools.partial(open_sleeping, seconds), frames_in(folder))
