"""The checks that every engine shares."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.contract.results import Detections
from edgevision.contract.session import ReplaySession
from edgevision.contract.spec import BatchRange, FrameInput, ModelSpec, NmsSpec, Provenance, detect_outputs
from edgevision.engines.opening import open_session
from edgevision.errors import EngineError, UsageError

SPEC = ModelSpec(
    "m",
    "detect",
    FrameInput((64, 64), batch=BatchRange(2, 2, 4)),
    detect_outputs(1),
    ("a",),
    Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00"),
    NmsSpec(candidates=1, max_detections=1),
)
ANSWER = (
    np.array([[[16, 16, 32, 32]]], np.float32),
    np.array([[0.5]], np.float32),
    np.array([[0]], np.int32),
)


def test_results_are_in_pixels_of_frames_of_any_size() -> None:
    session = ReplaySession(SPEC, [ANSWER])
    small, large = np.zeros((64, 64, 3), np.uint8), np.zeros((128, 128, 3), np.uint8)
    first, second = session([small, large])
    assert isinstance(first, Detections)
    assert isinstance(second, Detections)
    assert first.boxes.tolist() == [[16, 16, 32, 32]]
    assert second.boxes.tolist() == [[32, 32, 64, 64]]


def test_a_short_batch_is_filled_up_and_cut_again() -> None:
    assert len(ReplaySession(SPEC, [ANSWER])([np.zeros((9, 9, 3), np.uint8)])) == 1
    assert ReplaySession(SPEC, [ANSWER])([]) == []


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, 64, 64, 3), np.uint8),
        np.zeros((5, 64, 64, 3), np.uint8),
        np.zeros((2, 64, 65, 3), np.uint8),
        np.zeros((2, 3, 64, 64), np.uint8),
        np.zeros((2, 64, 64, 3), np.float32),
    ],
)
def test_a_wrong_batch_is_refused(frames: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"expected uint8 \[2:2:4,64,64,3\], received"):
        ReplaySession(SPEC, [ANSWER]).infer(frames)


def test_an_engine_that_breaks_the_contract_is_caught() -> None:
    broken = (ANSWER[0], ANSWER[1], ANSWER[2].astype(np.int64))
    with pytest.raises(EngineError, match=r"returned labels as int64 \[2, 1\]; expected int32"):
        ReplaySession(SPEC, [broken]).infer(np.zeros((2, 64, 64, 3), np.uint8))


def test_error_on_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown engine 'tensorflow'; engines: onnxruntime, openvino"):
        open_session("b", engine="tensorflow")


def test_replay_goes_round() -> None:
    other = (ANSWER[0] + 1, *ANSWER[1:])
    session = ReplaySession(SPEC, [ANSWER, other])
    boxes = session.infer(np.zeros((4, 64, 64, 3), np.uint8))[0]
    assert boxes[:, 0, 0].tolist() == [16, 17, 16, 17]
