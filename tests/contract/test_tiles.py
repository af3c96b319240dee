"""Frames in tiles: places and weights of tiles, and joined images against the image of the whole frame."""

from __future__ import annotations

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edgevision.contract.inputs import BatchRange
from edgevision.contract.results import Outputs, Translation
from edgevision.contract.session import EngineInfo, Frames, Pending, Session
from edgevision.contract.spec import FrameInput, Layout, ModelSpec, Provenance, Task, TensorSpec
from edgevision.contract.tiles.axis import TiledAxis
from edgevision.contract.tiles.options import TileOptions
from edgevision.contract.tiles.session import TiledSession
from edgevision.errors import EngineError, UsageError

RADIUS = 3
"""Pixels that the stand-in network sees around each one."""


def spec_of(
    size_wh: tuple[int, int] = (32, 24), factor: int = 1, *, batch: BatchRange | None = None
) -> ModelSpec:
    width, height = size_wh
    return ModelSpec(
        "blur",
        "translate",
        FrameInput(size_wh, "letterbox", batch=batch or BatchRange(1, 1, 1)),
        (TensorSpec("image", "uint8", (-1, height * factor, width * factor, 3)),),
        (),
        Provenance("a test", None, "none", "2026-01-01T00:00:00+00:00"),
    )


def blurred(frame: np.ndarray, factor: int) -> np.ndarray:
    """A convolution with zeros beyond the edges, then an enlargement that repeats pixels."""
    side = 2 * RADIUS + 1
    made = cv2.blur(frame, (side, side), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(made.repeat(factor, 0).repeat(factor, 1))


class BlurSession(Session):
    """A stand-in for an engine; `overlapping` calls may be in flight."""

    def __init__(self, spec: ModelSpec, *, overlapping: int = 1, tint: int = 0, fail_at: int = -1) -> None:
        super().__init__(spec, EngineInfo("blur", "edgevision", "a test"))
        self.factor = spec.outputs[0].shape[1] // spec.frames.size_wh[1]
        self.calls: list[int] = []
        self.pending = 0
        self._overlapping, self._tint, self._fail_at = overlapping, tint, fail_at

    @property
    def in_flight(self) -> int:
        return self._overlapping

    def submit(self, frames: Frames) -> Pending:
        """Computes late, from the memory that was given, as a GPU does."""
        self._check_frames(frames)
        number = len(self.calls)
        self.calls.append(len(frames))
        self.pending += 1
        assert self.pending <= self._overlapping

        def finish() -> Outputs:
            self.pending -= 1
            if number == self._fail_at:
                raise EngineError("the engine failed")
            return self._checked(self._infer(frames), len(frames))

        return Pending(finish)

    def _infer(self, frames: Frames) -> Outputs:
        made = np.stack([blurred(frame, self.factor) for frame in frames])
        return ((made + np.uint8(self._tint * len(self.calls))).astype(np.uint8),)


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (height, width, 3), np.uint8)


@pytest.mark.parametrize("overlap_px", [0, 1, 2, 5, 8, 16])
@pytest.mark.parametrize("side", [32, 33, 47, 64, 65, 200])
@pytest.mark.parametrize("factor", [1.0, 3.0, 0.5])
def test_tiles_cover_a_side_and_weights_add_up_to_one(side: int, overlap_px: int, factor: float) -> None:
    axis = TiledAxis(side, 32, overlap_px, factor)
    starts = axis.starts
    assert (starts[0], starts[-1]) == (0, side - 32)
    assert all(b - a <= 32 - overlap_px for a, b in itertools.pairwise(starts))
    assert len(starts) == 1 or (len(starts) - 1) * (32 - overlap_px) + 32 >= side
    assert len(starts) == 1 or (len(starts) - 2) * (32 - overlap_px) + 32 < side
    total = np.zeros(axis.spans[-1][1])
    for (first, end), weights in zip(axis.spans, axis.weights(), strict=True):
        assert len(weights) == end - first == round(32 * factor)
        assert weights.min() >= 0
        total[first:end] += weights
    assert total == pytest.approx(1)


def test_weights_grow_linearly_across_the_middle_of_the_overlap() -> None:
    first, second = TiledAxis(56, 32, 8, 1.0).weights()
    ramp = [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]  # of eight pixels: a quarter, a half, a quarter
    assert second[:8] == pytest.approx(ramp)
    assert first[-8:] == pytest.approx(ramp[::-1])
    assert (first[:24] == 1).all()
    assert (second[8:] == 1).all()


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("size_wh", [(32, 24), (33, 24), (100, 60), (61, 95), (150, 24)])
@pytest.mark.parametrize("overlapping", [1, 2])
def test_enough_overlap_gives_the_image_of_the_whole_frame(
    size_wh: tuple[int, int], factor: int, overlapping: int
) -> None:
    frame = noise(*size_wh)
    inner = BlurSession(spec_of(factor=factor, batch=BatchRange(1, 3, 4)), overlapping=overlapping)
    tiled = TiledSession(inner, TileOptions(overlap_px=12))
    (result,) = tiled([frame])
    assert isinstance(result, Translation)
    assert result.size_wh == (size_wh[0] * factor, size_wh[1] * factor)
    assert np.array_equal(result.image, blurred(frame, factor))
    assert set(inner.calls[:-1]) <= {3}
    assert inner.pending == 0


def test_too_little_overlap_is_seen() -> None:
    frame = noise(64, 48)
    made = TiledSession(BlurSession(spec_of()), TileOptions(overlap_px=0)).image_of(frame)
    assert np.abs(made.astype(int) - blurred(frame, 1)).max() > 20


def test_tiles_that_differ_are_blended() -> None:
    """Each tile of a plain frame is 10 levels lighter than the one before: no step is larger than the ramp's."""
    steps = []
    for overlap_px in (0, 4, 12):
        frame = np.zeros((24, 3 * 32 - 2 * overlap_px, 3), np.uint8)
        made = TiledSession(BlurSession(spec_of(), tint=10), TileOptions(overlap_px)).image_of(frame)
        row = made[0, :, 0].astype(int)
        assert (row[0], row[-1]) == (10, 30)
        assert np.diff(row).min() >= 0
        steps.append(np.diff(row).max())
    assert steps == [10, 6, 2]


def test_a_larger_overlap_than_asked_for_is_used() -> None:
    """Tiles are spread evenly, so two that must cover 40 pixels overlap by 24."""
    axis = TiledAxis(40, 32, 4, 1.0)
    assert axis.starts == (0, 8)
    first, second = axis.weights()
    assert (second[:6].max(), second[17:].min()) == (0, pytest.approx(1, abs=0.05))
    assert first[8:] + second[:24] == pytest.approx(1)


@pytest.mark.parametrize("size_wh", [(10, 24), (32, 7), (5, 3), (1, 1), (70, 9)])
def test_smaller_frames_are_padded_and_cut(size_wh: tuple[int, int]) -> None:
    frame = noise(*size_wh)
    made = TiledSession(BlurSession(spec_of(factor=2)), TileOptions(overlap_px=12)).image_of(frame)
    right, below = max(32 - size_wh[0], 0), max(24 - size_wh[1], 0)
    padded = cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    assert np.array_equal(made, blurred(np.asarray(padded), 2)[: 2 * size_wh[1], : 2 * size_wh[0]])


def test_rows_of_a_call() -> None:
    inner = BlurSession(spec_of(batch=BatchRange(2, 3, 4)))
    tiled = TiledSession(inner, TileOptions(0, rows=4))
    tiled.image_of(noise(160, 24))  # five tiles; one alone is padded to the least batch
    assert inner.calls == [4, 2]
    assert str(tiled.spec.frames.batch) == "1"
    for rows in (1, 5):
        with pytest.raises(UsageError, match=f"batch {rows} is out of range; expected 2:3:4 tiles for blur"):
            TiledSession(inner, TileOptions(0, rows))


@pytest.mark.parametrize("fail_at", [0, 1, 3])
def test_an_engine_that_fails_keeps_no_buffer(fail_at: int) -> None:
    inner = BlurSession(spec_of(), overlapping=2, fail_at=fail_at)
    tiled = TiledSession(inner)
    with pytest.raises(EngineError, match="the engine failed"):
        tiled.image_of(noise(100, 60))
    assert inner.pending == 0
    assert tiled.image_of(noise(40, 24)).shape == (24, 40, 3)


@pytest.mark.parametrize("overlap_px", [-1, 13, 24, 32, 4096])
def test_an_overlap_of_more_than_half_a_tile_is_an_error(overlap_px: int) -> None:
    message = (
        f"overlap by {overlap_px} pixels; expected 0 to 12, half of the shorter side of blur's input, 32x24"
    )
    with pytest.raises(UsageError, match=message):
        TiledSession(BlurSession(spec_of()), TileOptions(overlap_px))


def test_the_default_overlap_fits_the_tile() -> None:
    assert TiledSession(BlurSession(spec_of())).overlap_px == 12
    assert TiledSession(BlurSession(spec_of((200, 100)))).overlap_px == 32


@pytest.mark.parametrize("task", ["segment", "classify"])
def test_other_tasks_are_errors(task: Task) -> None:
    spec = replace(spec_of(), task=task)
    with pytest.raises(
        UsageError, match=f"tiles are for image-to-image models; blur has the task {task}: omit"
    ):
        TiledSession(BlurSession(spec))


def test_what_is_no_frame_is_an_error() -> None:
    tiled = TiledSession(BlurSession(spec_of()))
    for wrong in (np.zeros((3, 4), np.uint8), np.zeros((3, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(UsageError, match=r"expected a frame of uint8 \[H,W,3\] BGR"):
            tiled([wrong])  # type: ignore[list-item]  # on purpose
        with pytest.raises(UsageError, match="expected"):
            tiled.infer(wrong[None])  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("layout", ["bgr", "nv12"])
def test_a_graph_of_planes_gets_planes(layout: Layout) -> None:
    """The tile's memory has the graph's layout."""
    spec = spec_of()
    given = replace(spec, input=replace(spec.frames, layout=layout))
    seen: list[tuple[int, ...]] = []

    class Seeing(Session):
        def _infer(self, frames: Frames) -> Outputs:
            seen.append(frames.shape)
            return (np.full((len(frames), 24, 32, 3), 9, np.uint8),)

    tiled = TiledSession(Seeing(given, EngineInfo("seeing", "edgevision", "a test")))
    assert (tiled.image_of(noise(80, 40)) == 9).all()
    assert set(seen) == {(1, *given.frames.frame_shape)}
    assert tiled.spec.frames.layout == "bgr"
