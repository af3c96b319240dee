"""Frames in the layout nv12: their planes, their colours, and how the host fits frames to them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edgevision.contract.image import LetterboxGeometry, fit_frame
from edgevision.contract.nv12 import (
    JPEG,
    KINDS,
    ContentArea,
    Nv12Frame,
    Nv12Parts,
    bgr_from_nv12,
    nv12_from_bgr,
    write_scaled,
)
from edgevision.contract.pixels import BT_709, Bgr, FramePixels, YuvColour, YuvPlanes
from edgevision.contract.spec import Fit, FrameInput, checked_size
from edgevision.errors import UsageError
from edgevision.sources.synthetic_camera import SyntheticCamera

SIZE_WH = (192, 108)
TARGET = FrameInput((64, 64), layout="nv12")


@pytest.fixture(scope="module")
def image() -> Bgr:
    return np.asarray(cv2.GaussianBlur(SyntheticCamera(SIZE_WH).frame(40), (7, 7), 2), np.uint8)


class Planar(FramePixels):
    """A frame of three planes."""

    def __init__(self, image: Bgr, colour: YuvColour, padding: int = 0) -> None:
        super().__init__((image.shape[1], image.shape[0]))
        parts = Nv12Parts.of(nv12_from_bgr(image, colour))
        planes = [parts.luma, parts.chroma[..., 0], parts.chroma[..., 1]]
        wide = [np.pad(plane, ((0, 0), (0, padding)))[:, : plane.shape[1]] for plane in planes]
        self._planes = YuvPlanes(wide[0], (wide[1], wide[2]), colour)

    @property
    def planes(self) -> YuvPlanes:
        return self._planes

    def _to_bgr(self) -> Bgr:
        raise AssertionError("its planes are used")

    def _write_bgr(self, out: Bgr, interpolation: int) -> None:
        raise AssertionError("its planes are used")


@pytest.mark.parametrize("colour", [*KINDS, YuvColour(), YuvColour(9), YuvColour(7, full_range=True)])
def test_a_frame_keeps_the_colours_of_its_image(image: Bgr, colour: YuvColour) -> None:
    frame = nv12_from_bgr(image, colour)
    parts = Nv12Parts.of(frame)
    assert frame.shape == (108 * 3 // 2 + 1, 192)
    assert parts.colour == colour
    assert frame[-1, 2:].max() == 0
    difference = np.abs(bgr_from_nv12(frame).astype(int) - image)
    assert difference.mean() < 1.2
    patch = np.full((4, 4, 3), (30, 90, 200), np.uint8)
    exact = colour.from_bgr @ [30, 90, 200, 1]
    levels = Nv12Parts.of(nv12_from_bgr(patch, colour))
    np.testing.assert_allclose([levels.luma[1, 1], *levels.chroma[1, 1]], exact, atol=1.0)


@pytest.mark.parametrize(
    ("colour", "bgr", "levels"),
    [
        (KINDS[0], (0, 0, 255), (81.48, 90.2, 240)),
        (KINDS[1], (0, 0, 255), (76.25, 84.97, 255.5)),
        (KINDS[2], (0, 0, 255), (62.56, 102.34, 240)),
        (KINDS[3], (255, 0, 0), (18.41, 255.5, 116.3)),
    ],
)
def test_levels_are_those_of_the_standards(
    colour: YuvColour, bgr: tuple[int, ...], levels: tuple[float, ...]
) -> None:
    np.testing.assert_allclose(colour.from_bgr @ [*bgr, 1], levels, atol=0.06)
    np.testing.assert_allclose(colour.to_bgr @ [*levels, 1], bgr, atol=0.2)


@pytest.mark.parametrize("padding", [0, 10])
@pytest.mark.parametrize("kind", [0, 3])
def test_planes_of_the_input_s_size_are_copied(image: Bgr, kind: int, padding: int) -> None:
    batch = np.full((3, 163, 192), 7, np.uint8)
    target = FrameInput(SIZE_WH, "exact", layout="nv12")
    frame = Planar(image, KINDS[kind], padding)
    got, place = fit_frame(frame, target, out=batch[1])
    assert np.shares_memory(got, batch)
    assert place.scale_xy == (1.0, 1.0)
    np.testing.assert_array_equal(batch[1], nv12_from_bgr(image, KINDS[kind]))
    assert (batch[[0, 2]] == 7).all(), "nothing is written beside"
    pairs = Nv12Parts.of(batch[1])
    same = Nv12Frame(pairs.luma, pairs.chroma, KINDS[kind])
    np.testing.assert_array_equal(fit_frame(same, target)[0], batch[1])


@pytest.mark.parametrize("fit", ["letterbox", "stretch", "center-crop"])
@pytest.mark.parametrize("frame_wh", [(192, 108), (100, 66), (64, 200), (94, 130)])
@pytest.mark.parametrize("colour", KINDS)
def test_planes_are_fitted_like_an_image(
    image: Bgr, fit: Fit, frame_wh: tuple[int, int], colour: YuvColour
) -> None:
    shown = np.asarray(cv2.resize(image, frame_wh, interpolation=cv2.INTER_AREA), np.uint8)
    parts = Nv12Parts.of(nv12_from_bgr(shown, colour))
    frame = Nv12Frame(parts.luma, parts.chroma, colour)
    got, place = fit_frame(frame, replace(TARGET, fit=fit))
    seen = bgr_from_nv12(got)
    expected, near = fit_frame(frame.image_bgr, replace(TARGET, fit=fit).in_bgr)
    inside = Nv12Parts.of(got)
    assert inside.colour == (JPEG if fit == "center-crop" else colour)
    assert place.frame_wh == frame_wh
    assert place == near
    subsampled = bgr_from_nv12(nv12_from_bgr(expected, colour))
    difference = np.abs(seen.astype(int) - subsampled)
    assert np.percentile(difference, 97) <= 6
    assert difference.mean() < 1.7


@pytest.mark.parametrize("planar", [True, False])
@pytest.mark.parametrize(
    "frame_wh", [(64, 42), (42, 64), (192, 109), (500, 330), (1, 1), (2, 300), (127, 63)]
)
def test_letterboxes_may_begin_within_a_value_of_chroma(frame_wh: tuple[int, int], planar: bool) -> None:
    """A ramp of chroma shows its place."""
    width, height = frame_wh
    x, y = np.meshgrid(np.arange(-(-width // 2)) + 0.5, np.arange(-(-height // 2)) + 0.5)
    ramps = (
        np.stack([20 + 400 * x / max(width, 2), 20 + 400 * y / max(height, 2)], -1).round().astype(np.uint8)
    )
    luma = np.full((height, width), 90, np.uint8)
    chroma = (ramps[..., 0].copy(), ramps[..., 1].copy()) if planar else (ramps,)
    parts = Nv12Parts.of(np.empty(TARGET.frame_shape, np.uint8))
    geometry = LetterboxGeometry.of(frame_wh, TARGET.size_wh)
    (left, top), (inner_w, inner_h) = geometry.pad_xy, geometry.content_wh
    parts.set_colour(KINDS[0])
    area = ContentArea(left, top, inner_w, inner_h)
    parts.pad(area, 114)
    write_scaled(YuvPlanes(luma, chroma, KINDS[0]), parts, area, cv2.INTER_LINEAR)
    assert (parts.luma[top : top + inner_h, left : left + inner_w] == 90).all()
    assert (parts.luma == 90).sum() == inner_w * inner_h
    lines = parts.chroma[(top + inner_h // 2) // 2, :, 0], parts.chroma[:, (left + inner_w // 2) // 2, 1]
    for line, begin, side, source in zip(lines, (left, top), (inner_w, inner_h), frame_wh, strict=True):
        values = np.arange(begin // 2, (begin + side + 1) // 2)
        places = (2 * values + 1 - begin) * source / side / 2
        exact = 20 + 400 * places.clip(0.5, -(-source // 2) - 0.5) / max(
            source, 2
        )  # at the borders values repeat
        np.testing.assert_allclose(line[values], exact, atol=1.2)


def test_padding_is_grey_in_the_colour_of_the_frame(image: Bgr) -> None:
    for colour in KINDS:
        frame, _ = fit_frame(Planar(image, colour), TARGET)
        np.testing.assert_allclose(bgr_from_nv12(frame)[:8], 114, atol=1)


@pytest.mark.parametrize("colour", KINDS)
def test_odd_sizes_keep_their_last_column_and_row(colour: YuvColour) -> None:
    luma = np.full((37, 63), 90, np.uint8)
    chroma = np.full((19, 32, 2), (100, 160), np.uint8)
    got, _ = fit_frame(Nv12Frame(luma, chroma, colour), TARGET)
    parts = Nv12Parts.of(got)
    assert (parts.luma[20:40] == 90).all()
    assert (parts.chroma[12:20] == (100, 160)).all()


def test_an_image_is_converted_in_full_range(image: Bgr) -> None:
    got, place = fit_frame(image, TARGET)
    expected, same = fit_frame(image, TARGET.in_bgr)
    assert place == same
    assert Nv12Parts.of(got).colour == JPEG
    assert np.abs(bgr_from_nv12(got).astype(int) - expected).mean() < 1.2


def test_unusable_frames_are_refused(image: Bgr) -> None:
    exact = FrameInput((64, 64), "exact", layout="nv12")
    for frame in (image, Planar(image, JPEG)):
        with pytest.raises(UsageError, match="192x108; expected 64x64.*--frame 192x108"):
            fit_frame(frame, exact)
    with pytest.raises(UsageError, match=r"expected a frame of uint8 \[H,W,3\] BGR"):
        fit_frame(nv12_from_bgr(image), TARGET)
    with pytest.raises(ValueError, match="without gaps"):
        Nv12Parts.of(np.zeros((163, 200), np.uint8)[:, :192])
    with pytest.raises(ValueError, match=r"expected uint8 \[54, 96, 2\]"):
        Nv12Frame(np.zeros((108, 192), np.uint8), np.zeros((54, 96), np.uint8), JPEG)
    with pytest.raises(ValueError, match="matrix is 8; expected"):
        YuvColour(8)
    with pytest.raises(ValueError, match="needs even sides"):
        FrameInput((63, 64), layout="nv12")
    with pytest.raises(UsageError, match="63x64.*choose an even size, or --layout bgr"):
        checked_size((63, 64), "nv12")
    assert checked_size((63, 64), "bgr") == (63, 64)


def test_an_unknown_matrix_counts_as_unspecified(image: Bgr) -> None:
    frame = nv12_from_bgr(image, YuvColour(BT_709, full_range=True))
    frame[-1, :2] = 77, 9
    assert Nv12Parts.of(frame).colour == YuvColour(full_range=True)
