"""Frames that are scaled before they are converted, and where they are written."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgevision.contract.image import Frame, fit_frame
from edgevision.contract.inputs import Batch
from edgevision.contract.pixels import FramePixels, bgr_matrix, fastest_equal, write_planes
from edgevision.contract.session import PAGE_BYTES, Session
from edgevision.contract.spec import FrameInput
from edgevision.errors import UsageError
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_pipeline
from edgevision.sources.frames import SourceFrame
from tests.doubles import SIDE, BrightnessSession, ListSink, MemorySource

BT_601 = bgr_matrix(0.299, 0.114)


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

    def infer(self, batch: Batch) -> tuple[np.ndarray, ...]:
        assert isinstance(batch, np.ndarray)
        self.calls.append(batch)
        return Session.infer(self, batch)


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
def test_planes_are_scaled_and_converted_into_any_memory(size_wh: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    luma, blue, red = (
        np.asarray(cv2.GaussianBlur(rng.integers(0, 256, size, np.uint8), (9, 9), 3), np.uint8)
        for size in ((72, 128), (36, 64), (36, 64))
    )
    width, height = size_wh
    canvas = np.full((height + 4, width + 6, 3), 7, np.uint8)
    write_planes((luma, blue, red), canvas[1 : 1 + height, 2 : 2 + width], cv2.INTER_LINEAR, BT_601)
    scaled = [
        cv2.resize(plane, size_wh, interpolation=cv2.INTER_LINEAR).reshape(height, width)
        for plane in (luma, blue, red)
    ]
    exact = np.stack([*scaled, np.ones_like(scaled[0])], 2) @ BT_601.T
    np.testing.assert_allclose(canvas[1 : 1 + height, 2 : 2 + width], exact.clip(0, 255), atol=0.75)
    canvas[1 : 1 + height, 2 : 2 + width] = 7
    assert (canvas == 7).all(), "nothing is written beside"


@pytest.mark.parametrize(
    ("kr", "kb", "full", "levels", "bgr"),
    [
        (0.299, 0.114, False, (16, 128, 128), (0, 0, 0)),
        (0.299, 0.114, False, (235, 128, 128), (255, 255, 255)),
        (0.299, 0.114, False, (81.481, 90.203, 240), (0, 0, 255)),
        (0.2126, 0.0722, False, (62.56, 102.34, 240), (0, 0, 255)),
        (0.2126, 0.0722, False, (31.81, 240, 117.85), (255, 0, 0)),
        (0.299, 0.114, True, (149.685, 43.53, 21.23), (0, 255, 0)),
    ],
)
def test_matrices_give_the_primary_colours(
    kr: float, kb: float, full: bool, levels: tuple[float, ...], bgr: tuple[int, ...]
) -> None:
    matrix = bgr_matrix(kr, kb, full_range=full)
    np.testing.assert_allclose(matrix @ [*levels, 1], bgr, atol=0.6)
    shifted = bgr_matrix(kr, kb, full_range=full, offset=-1.0)
    np.testing.assert_allclose(matrix @ [*levels, 1] - shifted @ [*levels, 1], 1)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_the_fastest_interpolation_gives_the_same_pixels(channels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    changed = 0
    for _ in range(60):
        height, width = (int(side) for side in rng.integers(1, 40, 2))
        down = rng.integers(1, 6, 2) if rng.random() < 0.3 else [rng.integers(1, 6)] * 2
        source = rng.integers(0, 256, (height * down[0], width * down[1], *channels), np.uint8)
        for wanted in (cv2.INTER_LINEAR, cv2.INTER_AREA):
            used = fastest_equal(wanted, source.shape, (height, width))
            changed += used != wanted
            expected, received = (
                cv2.resize(source, (width, height), interpolation=kind) for kind in (wanted, used)
            )
            np.testing.assert_array_equal(received, expected)
    assert changed > 20
    assert fastest_equal(cv2.INTER_LINEAR, (1080, 1920), (360, 640)) == cv2.INTER_NEAREST_EXACT
    assert fastest_equal(cv2.INTER_LINEAR, (1080, 1921), (360, 640)) == cv2.INTER_LINEAR
    assert fastest_equal(cv2.INTER_LINEAR, (20, 20), (40, 40)) == cv2.INTER_LINEAR
