"""Heat maps of models that depend on one known place."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from edgevision.contract.image import Frame
from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, Session
from edgevision.contract.spec import (
    BatchRange,
    Fit,
    FrameInput,
    ModelSpec,
    NmsSpec,
    Provenance,
    TensorSpec,
    classify_outputs,
    detect_outputs,
    segment_outputs,
)
from edgevision.errors import UsageError
from edgevision.explain.maps import ExplainOptions, Explanation, explain
from edgevision.explain.target import TargetChoice

WIDTH, HEIGHT = 96, 64
PATCH = (60, 20, 76, 36)
"""xyxy in input pixels: all that the models here look at."""
ELSEWHERE = (8.0, 30.0, 32.0, 60.0)
PROVENANCE = Provenance("none", None, "test", "2026-01-01T00:00:00+00:00")
CLASSES = ("other", "patch")


def spec_of(task: str, fit: Fit = "letterbox", batch: BatchRange | None = None) -> ModelSpec:
    outputs: dict[str, tuple[TensorSpec, ...]] = {
        "detect": detect_outputs(2),
        "classify": classify_outputs(2),
        "segment": segment_outputs((WIDTH, HEIGHT)),
    }
    frames = FrameInput((WIDTH, HEIGHT), fit=fit, batch=batch or BatchRange())
    nms = NmsSpec(candidates=2, max_detections=2) if task == "detect" else None
    return ModelSpec("patch", task, frames, outputs[task], CLASSES, PROVENANCE, nms)  # type: ignore[arg-type]  # a task


class PatchSession(Session):
    """The score is the whiteness of `PATCH`; `box` is the returned box, at any position."""

    def __init__(self, spec: ModelSpec, box: tuple[float, ...] = PATCH) -> None:
        super().__init__(spec, EngineInfo("patch", "test", "cpu"))
        self.box = box
        self.batches: list[int] = []

    def _infer(self, frames: Frames) -> Outputs:
        self.batches.append(len(frames))
        left, top, right, bottom = PATCH
        patches = frames[:, top:bottom, left:right].reshape(len(frames), -1)
        white = (patches.mean(axis=1) / 255).astype(np.float32)
        if self.spec.task == "classify":
            return (np.stack([1 - white, white], 1),)
        if self.spec.task == "segment":
            masks = np.zeros((len(frames), HEIGHT, WIDTH), np.uint8)
            masks[white > 0.6, top:bottom, left:right] = 1
            return (masks,)
        boxes = np.tile(np.array([self.box, ELSEWHERE], np.float32), (len(frames), 1, 1))
        scores = np.stack([white, np.full_like(white, 0.3)], 1)
        return boxes, scores, np.tile(np.array([1, 0], np.int32), (len(frames), 1))


def planted(
    patch: tuple[int, ...] = PATCH, size_wh: tuple[int, int] = (WIDTH, HEIGHT), factor: float = 1.0
) -> Frame:
    """Dark noise with a white patch; coordinates are multiplied by `factor`."""
    frame = np.random.default_rng(7).integers(0, 80, (size_wh[1], size_wh[0], 3)).astype(np.uint8)
    left, top, right, bottom = (round(value * factor) for value in patch)
    frame[top:bottom, left:right] = 255
    return frame


def share_near(explanation: Explanation, patch: tuple[int, ...], margin: int) -> float:
    """Share of the positive heat within a margin around a patch of the frame."""
    positive = np.maximum(explanation.heat, 0)
    left, top, right, bottom = patch
    near = positive[max(top - margin, 0) : bottom + margin, max(left - margin, 0) : right + margin]
    return float(near.sum() / positive.sum())


def hottest_xy(heat: npt.NDArray[np.float32]) -> tuple[int, int]:
    row, column = np.unravel_index(np.argmax(heat), heat.shape)
    return int(column), int(row)


@pytest.mark.parametrize("task", ["detect", "classify", "segment"])
def test_heat_is_at_the_only_place_the_model_depends_on(task: str) -> None:
    session = PatchSession(spec_of(task))
    explanation = explain(session, planted(), TargetChoice(class_name="patch"), ExplainOptions(masks=400))
    assert explanation.heat.shape == (HEIGHT, WIDTH)
    assert explanation.heat.dtype == np.float32
    left, top, right, bottom = PATCH
    x, y = hottest_xy(explanation.heat)
    assert left <= x < right
    assert top <= y < bottom
    assert share_near(explanation, PATCH, 8) > 0.9
    check = explanation.check
    assert check.holds
    assert check.hottest_hidden < 0.5 * check.random_hidden
    assert check.hottest_shown == pytest.approx(check.whole, abs=0.05)
    assert check.whole > 0.95
    if task != "classify":
        assert explanation.inside is not None
        assert explanation.inside > 0.3
        assert explanation.inside_area == pytest.approx(16 * 16 / (WIDTH * HEIGHT))


def test_a_box_that_rests_on_something_outside_it_is_found_out() -> None:
    session = PatchSession(spec_of("detect"), box=ELSEWHERE)
    explanation = explain(session, planted(), options=ExplainOptions(masks=400))
    assert explanation.box == pytest.approx(ELSEWHERE)
    assert share_near(explanation, PATCH, 8) > 0.9
    assert explanation.inside is not None
    assert explanation.inside < 0.05


def test_heat_is_the_difference_in_score() -> None:
    """The white patch scores 1, hidden wholly what the mean colour scores."""
    session = PatchSession(spec_of("classify"))
    frame = planted()
    explanation = explain(session, frame, TargetChoice(class_name="patch"), ExplainOptions(masks=2000))
    lost = 1 - frame.reshape(-1, 3).mean() / 255
    # The mask that hides the patch's middle hides some of the rest of it too, and never more than all.
    assert 0.25 * lost < explanation.heat.max() < lost


@pytest.mark.parametrize(
    ("fit", "size_wh", "patch"),
    [
        # Three times as large, with 24 rows of padding above and below in the input's scale.
        ("letterbox", (288, 96), (180, 12, 228, 60)),
        ("stretch", (192, 256), (120, 80, 152, 144)),
        # Twice as large; 16 columns and no rows are cut off on each side.
        ("center-crop", (224, 128), (136, 40, 168, 72)),
    ],
)
def test_the_map_has_the_size_of_the_original_frame(
    fit: Fit, size_wh: tuple[int, int], patch: tuple[int, int, int, int]
) -> None:
    session = PatchSession(spec_of("detect", fit))
    explanation = explain(session, planted(patch, size_wh), options=ExplainOptions(masks=400))
    assert explanation.heat.shape == (size_wh[1], size_wh[0])
    assert explanation.box == pytest.approx(patch, abs=1)
    x, y = hottest_xy(explanation.heat)
    assert patch[0] <= x < patch[2]
    assert patch[1] <= y < patch[3]
    if fit == "center-crop":
        assert not explanation.heat[:, :15].any()
        assert not explanation.heat[:, -15:].any()


def test_padding_and_fully_shown_parts_are_not_changed() -> None:
    seen: list[Frame] = []

    class Watching(PatchSession):
        def _infer(self, frames: Frames) -> Outputs:
            seen.extend(frames)
            return super()._infer(frames)

    frame = planted((60, 10, 76, 26), (96, 32))
    explain(Watching(spec_of("detect")), frame, options=ExplainOptions(masks=20))
    for picture in seen:
        assert (picture[:16] == 114).all()
        assert (picture[48:] == 114).all()
    assert np.array_equal(seen[0][16:48], frame)
    assert np.array_equal(seen[21], seen[0]), "the check's first frame is the whole one"
    assert not np.array_equal(seen[1], seen[0])
    mean = np.rint(frame.mean(axis=(0, 1)))
    hidden = (seen[22][16:48] == mean).all(axis=2)
    assert hidden.mean() == pytest.approx(0.2, abs=0.001)


def test_a_model_that_looks_nowhere_has_no_heat() -> None:
    class Blind(PatchSession):
        def _infer(self, frames: Frames) -> Outputs:
            return tuple(np.repeat(array[:1], len(frames), 0) for array in super()._infer(WHITE))

    explanation = explain(Blind(spec_of("detect")), planted(), options=ExplainOptions(masks=100))
    assert not explanation.heat.any()
    assert explanation.inside == 0
    assert not explanation.check.holds


WHITE = np.full((1, HEIGHT, WIDTH, 3), 255, np.uint8)


def test_a_seed_is_a_map_and_another_is_another() -> None:
    def heat(seed: int) -> npt.NDArray[np.float32]:
        session = PatchSession(spec_of("detect"))
        return explain(session, planted(), options=ExplainOptions(masks=50, seed=seed)).heat

    assert np.array_equal(heat(1), heat(1))
    assert not np.array_equal(heat(1), heat(2))


def test_batches_are_filled_and_change_nothing() -> None:
    one = PatchSession(spec_of("detect"))
    many = PatchSession(spec_of("detect", batch=BatchRange(2, 4, 4)))
    reported: list[int] = []
    options = ExplainOptions(masks=30)
    expected = explain(one, planted(), options=options)
    received = explain(many, planted(), options=options, progress=reported.append)
    assert set(one.batches) == {1}
    assert set(many.batches) == {2, 4}
    assert np.array_equal(received.heat, expected.heat)
    assert received.check == expected.check
    assert sum(reported) == 30
    assert math.ceil(30 / 4) == len(reported)


def test_one_mask_makes_no_difference() -> None:
    with pytest.raises(UsageError, match="at least 2"):
        ExplainOptions(masks=1)
