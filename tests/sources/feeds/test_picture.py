"""Frames of PyAV: the same pixels whole, nearly the same when scaled in their planes."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame

from edgevision.contract.image import Frame, fit_frame
from edgevision.contract.spec import Fit, FrameInput
from edgevision.sources.feeds.picture import Converters, PictureFrame
from edgevision.sources.synthetic_camera import SyntheticCamera

LIMITED, FULL = 1, 2
BT_709, UNSPECIFIED = 1, 2
SIZE_WH = (480, 270)
LETTERBOX = FrameInput((208, 208))


def picture_of(
    image: Frame, layout: str = "yuv420p", matrix: int = UNSPECIFIED, span: int = LIMITED
) -> VideoFrame:
    made = VideoFrame.from_ndarray(image, "bgr24").reformat(
        format=layout, dst_colorspace="itu709" if matrix == BT_709 else "itu601", dst_color_range=span
    )
    made.colorspace, made.color_range = matrix, span
    return made


def decoded(picture: VideoFrame) -> PictureFrame:
    return PictureFrame(picture, Converters())


@pytest.fixture(scope="module")
def image() -> Frame:
    return SyntheticCamera(SIZE_WH).frame(40)


@pytest.mark.parametrize(
    ("layout", "matrix", "span"),
    [
        ("yuv420p", UNSPECIFIED, LIMITED),
        ("yuv420p", BT_709, LIMITED),
        ("yuv420p", UNSPECIFIED, FULL),
        ("yuvj420p", UNSPECIFIED, FULL),
        ("yuv422p", UNSPECIFIED, LIMITED),
        ("nv12", UNSPECIFIED, LIMITED),
        ("yuv420p10le", BT_709, LIMITED),
    ],
)
@pytest.mark.parametrize("size_wh", [(208, 208), (207, 117), (480, 270), (500, 500)])
def test_scaled_planes_are_close_to_a_scaled_image(
    image: Frame, layout: str, matrix: int, span: int, size_wh: tuple[int, int]
) -> None:
    picture = picture_of(image, layout, matrix, span)
    whole = decoded(picture).image_bgr
    np.testing.assert_array_equal(whole, picture.to_ndarray(format="bgr24"))
    fits: tuple[Fit, ...] = ("letterbox", "stretch")
    for fit in fits:
        target = FrameInput(size_wh, fit=fit)
        expected, place = fit_frame(whole, target)
        got, transform = fit_frame(decoded(picture), target)
        assert transform == place
        difference = np.abs(got.astype(int) - expected)
        # Rounding of the planes and of the matrix; OpenCV's own one, without libswscale's offset, for whole frames.
        assert difference.mean() < (1.3 if size_wh == SIZE_WH else 0.8), (fit, difference.mean())
        assert np.percentile(difference, 99) <= 5


def test_a_frame_of_the_model_s_size_is_converted_into_its_batch(
    image: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[int] = []

    def counted(to: Frame, frames: Frame) -> None:
        copies.append(frames.nbytes)
        to[...] = frames

    monkeypatch.setattr(np, "copyto", counted)
    row = np.zeros((3, SIZE_WH[1], SIZE_WH[0], 3), np.uint8)[1]
    fit_frame(decoded(picture_of(image)), FrameInput(SIZE_WH, fit="exact"), out=row)
    assert copies == []
    assert np.abs(row.astype(int) - image).mean() < 4
    letterboxed = np.zeros((208, 208, 3), np.uint8)
    fit_frame(decoded(picture_of(image)), LETTERBOX, out=letterboxed)
    assert copies == [], "the scaled planes are converted into it"


def test_a_frame_serves_several_threads(image: Frame) -> None:
    frame = decoded(picture_of(image))
    results: list[bool] = []
    expected = fit_frame(decoded(picture_of(image)), LETTERBOX)[0]

    def scale() -> None:
        results.extend(np.array_equal(fit_frame(frame, LETTERBOX)[0], expected) for _ in range(10))

    threads = [threading.Thread(target=scale) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 40
    assert cv2.PSNR(frame.image_bgr, image) > 30
