"""Explains an answer with a heat map of the shipped graph, made by hiding parts of the frame.

Random masks cover parts of the frame, and the graph runs on each covered frame. A pixel's heat is the target's score
where the pixel is shown minus its score where it is hidden. The scheme of masks is RISE's (arXiv 1806.07421), the
similarity of detections D-RISE's (arXiv 2006.03204). No gradient and no inner layer is needed, so every engine and
precision can be explained, and the explanation is of the deployed graph.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.contract.boxes import area
from edgevision.contract.image import Frame, fit_frame
from edgevision.contract.nv12 import nv12_from_bgr
from edgevision.contract.results import Outputs
from edgevision.contract.session import Session
from edgevision.contract.transform import FrameTransform
from edgevision.errors import UsageError
from edgevision.explain.target import ExplainTarget, TargetChoice, choose_target, likeness

Heat = npt.NDArray[np.float32]
Progress = Callable[[int], None]
T = TypeVar("T")

PROBED_SHARE = 0.2
"""Share of the frame that the check hides or shows."""
RANDOM_DRAWS = 19
SHOWN_SHARE = 0.5
"""Probability that a mask cell shows the frame."""
CELLS_ACROSS = 2.5
"""Mask cells across a box: small enough to separate parts of an object, large enough to often hide it as a whole."""
PICTURE_CELLS = 8
"""Mask cells across the frame if the answer has no box."""
FINEST_CELLS = 32
NOISE_ERRORS = 3.0
"""Heat below this many standard errors is noise, and set to 0."""
ROUNDING = 1e-6
"""Float32 rounding of the sums for a score that never changes."""


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """Number of masks of an explanation, and the seed of the random ones."""

    masks: int = 800
    seed: int = 0

    def __post_init__(self) -> None:
        if self.masks < 2:
            raise UsageError(f"masks {self.masks} must be at least 2: heat is a difference")


@dataclass(frozen=True, slots=True)
class MapCheck:
    """Test of a heat map on the model: the target's score in frames that the map selects.

    A detection's scores are multiplied by their IoU with the target's box; a segmentation's score is the share of the
    target's pixels that keep their class.
    """

    whole: float
    """The frame as it is."""
    hottest_hidden: float
    """The hottest `PROBED_SHARE` of it hidden."""
    random_hidden: float
    """The same shape hidden in random places: the median of `RANDOM_DRAWS`."""
    hottest_shown: float
    """Only the hottest `PROBED_SHARE` shown."""

    harmless: float
    """Share of the random draws that left a higher score than hiding the hottest part."""

    @property
    def holds(self) -> bool:
        """True if hiding the hottest part lowers the score more than most random draws do."""
        return self.harmless >= 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """A heat map with the result of its test.

    `heat` float32 ``[H,W]`` over the frame: the target's score gain if a pixel is shown. Pixels that the model never
    sees (cropped before its input) have 0, as do values within noise. `box` is the target's, in frame pixels.
    """

    heat: Heat
    target: ExplainTarget
    box: npt.NDArray[np.float32] | None
    inside: float | None
    """Share of all positive heat that lies inside the box or region; None for a classification."""
    inside_area: float | None
    """Share of the frame that the box or region covers: the value of `inside` for uniform heat."""
    check: MapCheck
    options: ExplainOptions


def explain(
    session: Session,
    frame_bgr: Frame,
    choice: TargetChoice | None = None,
    options: ExplainOptions | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Explain one answer to a camera frame; runs the graph about `options.masks` times.

    `progress` receives the number of masks processed since its last call. Raises `UsageError` if the choice matches
    none of the model's answers.
    """
    choice, options = choice or TargetChoice(), options or ExplainOptions()
    picture, placement = fit_frame(frame_bgr, session.spec.frames.in_bgr)
    whole = _answers(session, [picture])
    target = choose_target(session.spec, whole, choice)
    stage = _Stage.of(picture, placement)
    generator = np.random.default_rng(options.seed)
    cell_px = _cell_px(target, stage)
    slope, error = _heat(session, stage, target, options, generator, cell_px, progress or (lambda _: None))
    check = _check(session, stage, target, slope, generator)
    heat = np.where(np.abs(slope) <= NOISE_ERRORS * error + ROUNDING, np.float32(0), slope)
    inside = _inside(target, stage, heat)
    return Explanation(
        _frame_from_input_heat(stage.whole(heat), placement),
        target,
        None if target.box is None else placement.frame_from_input(target.box[None])[0],
        None if inside is None else inside[0],
        None if inside is None else inside[1],
        check,
        options,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Stage:
    """The model's input with the part of it that shows the frame; only that part is ever hidden.

    Hidden areas blend softly into the mean colour of the frame, so that masks add no edges of their own.
    """

    picture: Frame
    left: int
    top: int
    content: Frame
    """``[h,w,3]``: the frame's pixels within the input."""
    plain: Frame
    """The same filled with the mean colour."""

    @classmethod
    def of(cls, picture: Frame, placement: FrameTransform) -> _Stage:
        limits = (picture.shape[1], picture.shape[0])
        low = [
            min(max(math.floor(o + 0.5), 0), n - 1) for o, n in zip(placement.offset_xy, limits, strict=True)
        ]
        ends = (
            o + s * n
            for o, s, n in zip(placement.offset_xy, placement.scale_xy, placement.frame_wh, strict=True)
        )
        high = [
            min(max(math.floor(end + 0.5), start + 1), n)
            for end, start, n in zip(ends, low, limits, strict=True)
        ]
        content = np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]])
        plain = np.empty_like(content)
        plain[:] = np.rint(content.mean(axis=(0, 1)))
        return cls(picture, low[0], low[1], content, plain)

    @property
    def shape(self) -> tuple[int, int]:
        return self.content.shape[0], self.content.shape[1]

    def covered(self, shown: Heat) -> Frame:
        """The input, with `shown`, ``[h,w]`` of 0..1 over the content, as each pixel's visibility."""
        height, width = self.shape
        result = self.picture.copy()
        mixed = cv2.blendLinear(self.content, self.plain, shown, 1 - shown)
        result[self.top : self.top + height, self.left : self.left + width] = mixed
        return result

    def whole(self, heat: Heat) -> Heat:
        """A map over the content as a map over the input, 0 elsewhere."""
        height, width = self.shape
        result = np.zeros(self.picture.shape[:2], np.float32)
        result[self.top : self.top + height, self.left : self.left + width] = heat
        return result

    def part(self, of_input: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """The content's part of a map over the input."""
        height, width = self.shape
        return of_input[self.top : self.top + height, self.left : self.left + width]


def _cell_px(target: ExplainTarget, stage: _Stage) -> int:
    """Side of a mask's cells in input pixels: from the target's size if it has one."""
    shorter = min(stage.shape)
    if target.box is None:
        return max(1, round(shorter / PICTURE_CELLS))
    across = math.sqrt(float(area(target.box[None])[0])) / CELLS_ACROSS
    return max(1, round(min(max(across, max(stage.shape) / FINEST_CELLS), shorter / 4)))


def _masks(shape: tuple[int, int], cell_px: int, generator: np.random.Generator) -> Iterator[Heat]:
    """Endless smooth random masks ``[h,w]`` of 0..1: a coarse random grid, enlarged, at a random shift."""
    rows, columns = (side // cell_px + 2 for side in shape)
    while True:
        grid = (generator.random((rows, columns)) < SHOWN_SHARE).astype(np.float32)
        top, left = generator.integers(0, cell_px, 2)
        fine = cv2.resize(grid, (columns * cell_px, rows * cell_px), interpolation=cv2.INTER_LINEAR)
        yield np.asarray(fine[top : top + shape[0], left : left + shape[1]], np.float32)


def _heat(
    session: Session,
    stage: _Stage,
    target: ExplainTarget,
    options: ExplainOptions,
    generator: np.random.Generator,
    cell_px: int,
    progress: Progress,
) -> tuple[Heat, Heat]:
    """Least-squares slope of the target's similarity over each pixel's visibility, for all masks, and its error.

    RISE's mean of masks weighted by their scores, with the masks' own mean and spread removed. This reduces its noise,
    and its unit is a difference of scores.
    """
    # Sums of masks, of their squares, and of their products with scores.
    sums = np.zeros((3, *stage.shape), np.float32)
    scores: list[float] = []
    masks = itertools.islice(_masks(stage.shape, cell_px, generator), options.masks)
    for some in _batched(masks, session.spec.frames.batch.max):
        outputs = _answers(session, [stage.covered(mask) for mask in some])
        for mask, score in zip(some, likeness(target, outputs), strict=True):
            centred = mask - SHOWN_SHARE
            sums[0] += centred
            sums[1] += centred * centred
            sums[2] += centred * np.float32(score)
            scores.append(float(score))
        progress(len(some))
    spread = np.maximum(sums[1] - sums[0] ** 2 / options.masks, np.float32(1e-6))
    slope = (sums[2] - sums[0] * np.float32(np.mean(scores))) / spread
    unexplained = np.maximum(np.float32(np.var(scores) * options.masks) - slope**2 * spread, 0)
    error = np.sqrt(unexplained / spread / max(options.masks - 2, 1))
    return np.asarray(slope, np.float32), np.asarray(error, np.float32)


def _check(
    session: Session, stage: _Stage, target: ExplainTarget, heat: Heat, generator: np.random.Generator
) -> MapCheck:
    """Test the map: hide the hottest part, the same shape elsewhere, and all but the hottest part.

    "Elsewhere" is the same shape shifted at random with wrap-around, so that only the position differs.
    """
    hot = _top_share(heat, PROBED_SHARE)
    shows = [np.ones_like(hot), ~hot, hot]
    for _ in range(RANDOM_DRAWS):
        shift = generator.integers(0, hot.shape)
        shows.append(~np.roll(hot, (int(shift[0]), int(shift[1])), (0, 1)))
    pictures = [stage.covered(shown.astype(np.float32)) for shown in shows]
    batches = _batched(pictures, session.spec.frames.batch.max)
    scores = np.concatenate([likeness(target, _answers(session, batch)) for batch in batches])
    whole, hidden, shown_alone, *random = (float(score) for score in scores)
    harmless = float(np.mean(np.array(random) > hidden))
    return MapCheck(whole, hidden, float(np.median(random)), shown_alone, harmless)


def _top_share(values: Heat, share: float) -> npt.NDArray[np.bool_]:
    """Exactly this `share` of pixels with the greatest values, even among equals."""
    order = np.argsort(-values, axis=None, kind="stable")
    chosen = np.zeros(values.size, np.bool_)
    chosen[order[: round(share * values.size)]] = True
    return chosen.reshape(values.shape)


def _inside(target: ExplainTarget, stage: _Stage, heat: Heat) -> tuple[float, float] | None:
    """Shares of the positive heat, and of the frame, inside the target's box or region."""
    if target.region is not None:
        inside = stage.part(target.region)
    elif target.box is not None:
        left, top, right, bottom = target.box
        # A pixel is inside if its centre is.
        rows = np.arange(heat.shape[0])[:, None] + stage.top + 0.5
        columns = np.arange(heat.shape[1])[None] + stage.left + 0.5
        inside = (rows > top) & (rows < bottom) & (columns > left) & (columns < right)
    else:
        return None
    positive = np.maximum(heat, 0).astype(np.float64)
    total = positive.sum()
    return float(positive[inside].sum() / total) if total > 0 else 0.0, float(inside.mean())


def _answers(session: Session, pictures: list[Frame]) -> Outputs:
    """Answers to one batch of BGR images of the input's size, padded with copies if the graph needs a larger one."""
    if session.spec.frames.layout == "nv12":
        pictures = [nv12_from_bgr(picture) for picture in pictures]
    missing = session.spec.frames.batch.min - len(pictures)
    outputs = session.infer(np.stack(pictures + pictures[-1:] * max(missing, 0)))
    return tuple(array[: len(pictures)] for array in outputs)


def _batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(values)
    while some := list(itertools.islice(iterator, size)):
        yield some


def _frame_from_input_heat(heat: Heat, placement: FrameTransform) -> Heat:
    """A map over the input, interpolated at the centres of the frame's pixels."""
    scale, offset = np.asarray(placement.scale_xy), np.asarray(placement.offset_xy)
    start = 0.5 * scale + offset - 0.5
    matrix = np.array([[scale[0], 0, start[0]], [0, scale[1], start[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(heat, matrix, placement.frame_wh, flags=flags), np.float32)
