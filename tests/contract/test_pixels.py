"""Frames that are scaled before they are converted, and where they are written."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgevision.contract.image import Frame, fit_frame
from edgevision.contract.pixels import FramePixels, scaled_i420
from edgevision.contract.session import PAGE_BYTES, Session
from edgevision.contract.spec import FrameInput
from edgevision.errors import UsageError
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_pipeline
from edgevision.sources.frames import SourceFrame
from tests.doubles import SIDE, BrightnessSession, ListSink, MemorySource


class Recorded(FramePixels):
    """A grey frame that keeps the arrays that it is written into."""

    def __init__(self, size_wh: tuple[int, int], level: int) -> None:
        super().__init__(size_wh)
        self.level = level
        self.written: list[Frame] = []
        self.converted = 0

    def _to_bgr(self) -> Frame:
        self.converted += 1
        return np.full((self.size_wh[1], self.size_wh[0], 3), self.level, np.uint8)

    def _write_bgr(self, out: Frame, interpolation: int) -> None:
        self.written.append(out)
        out[:] = self.level


class RecordedSource(MemorySource):
    def __init__(self, count: int, size_wh: tuple[int, int]) -> None:
        super().__init__(count)
        self.frame_wh = size_wh
        self.made: list[Recorded] = []

    def read(self) -> SourceFrame | None:
        frame = super().read()
        if frame is None:
            return None
        self.made.append(Recorded(self.frame_wh, frame.index))
        return SourceFrame(self.made[-1], frame.index, "memory", frame.captured_ns, 0.0, None, 1000)


class Watching(BrightnessSession):
    """Keeps the arrays that it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Frame] = []

    def infer(self, frames: Frame) -> tuple[np.ndarray, ...]:
        self.calls.append(frames)
        return Session.infer(self, frames)


@pytest.mark.parametrize("size_wh", [(SIDE, SIDE), (2 * SIDE, SIDE), (SIDE, 3 * SIDE)])
def test_a_decoder_writes_into_the_memory_that_the_engine_reads(size_wh: tuple[int, int]) -> None:
    session, source, sink = Watching(), RecordedSource(5, size_wh), ListSink()
    sink.takes_images = False
    run_pipeline(session, source, [sink], options=PipelineOptions(threshold=0.0))
    for pixels, call in zip(source.made, session.calls, strict=True):
        (out,) = pixels.written
        assert np.shares_memory(out, call), "no copy between decoder and engine"
        assert pixels.converted == 0
        assert int(call.__array_interface__["data"][0]) % PAGE_BYTES == 0
    for seen in sink.seen[1:]:
        assert round(float(seen.result.scores[0]) * 255) == seen.frame.index  # type: ignore[union-attr]
        assert seen.frame.size_wh == size_wh


def test_a_frame_whose_image_is_taken_is_converted_once() -> None:
    session, source, sink = Watching(), RecordedSource(3, (2 * SIDE, SIDE)), ListSink(annotated=True)
    run_pipeline(session, source, [sink], options=PipelineOptions(threshold=0.0))
    assert [(pixels.converted, pixels.written) for pixels in source.made] == [(1, [])] * 3
    assert sink.seen[2].frame.image_bgr is source.made[2].image_bgr


@pytest.mark.parametrize("fit", ["letterbox", "stretch", "center-crop", "exact"])
@pytest.mark.parametrize("frame_wh", [(96, 64), (64, 200), (33, 47)])
def test_a_frame_has_the_place_that_its_image_would_have(fit: str, frame_wh: tuple[int, int]) -> None:
    target = FrameInput((64, 64), fit=fit)  # type: ignore[arg-type]  # from a list
    pixels, out = Recorded(frame_wh, 9), np.zeros((64, 64, 3), np.uint8)
    if fit == "exact":
        with pytest.raises(UsageError, match="the only size of this graph"):
            fit_frame(pixels, target, out=out)
        return
    image = np.full((frame_wh[1], frame_wh[0], 3), 9, np.uint8)
    expected, transform = fit_frame(image, target)
    got, place = fit_frame(pixels, target, out=out)
    assert got is out
    assert place == transform
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("size_wh", [(64, 36), (63, 37), (1, 1), (130, 94)])
def test_planes_are_scaled_to_any_size(size_wh: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    luma, blue_of_frame = (
        np.asarray(cv2.GaussianBlur(rng.integers(0, 256, size, np.uint8), (9, 9), 3), np.uint8)
        for size in ((72, 128), (36, 64))
    )
    image = scaled_i420((luma, blue_of_frame, 255 - blue_of_frame), size_wh, cv2.INTER_LINEAR)
    width, height = size_wh
    padded = (height + -height % 4, width + width % 2)
    assert image.shape == (padded[0] * 3 // 2, padded[1])
    np.testing.assert_array_equal(
        image[:height, :width], cv2.resize(luma, size_wh, interpolation=cv2.INTER_LINEAR)
    )
    assert (image[height : padded[0], :width] == image[height - 1, :width]).all()
    blue, red = image[padded[0] :].reshape(2, padded[0] // 2, padded[1] // 2)
    half_wh = ((width + 1) // 2, (height + 1) // 2)
    scaled = cv2.resize(blue_of_frame, half_wh, interpolation=cv2.INTER_LINEAR).reshape(half_wh[::-1])
    np.testing.assert_array_equal(blue[: half_wh[1], : half_wh[0]], scaled)
    assert int(np.abs(blue.astype(int) + red - 255).max()) <= 1
