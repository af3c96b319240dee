"""Golden frames: real photographs as the graph takes them, and the source model's answers to them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from edgevision.bundle import Golden
from edgevision.errors import UsageError
from edgevision.export.recipe import Pixels, SourceModel
from edgevision.image import Frame, LetterboxGeometry, fit_frame
from edgevision.results import Outputs
from edgevision.spec import FrameInput, NmsSpec
from edgevision.virtual_camera import PHOTOGRAPHS

FRAME_COUNT = 4
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def golden_frames(folder: Path | None, frames: FrameInput) -> npt.NDArray[np.uint8]:
    """The first `FRAME_COUNT` readable images of a folder (default: the packaged photographs), brought to the input's size.

    Returns uint8 ``[N,H,W,3]``. Where the graph takes camera frames of one size, each photograph is scaled to cover that
    size and cut, as a camera of that size would see it. Raises `UsageError` if the folder holds no readable image.
    """
    folder = folder or PHOTOGRAPHS
    if not folder.is_dir():
        raise UsageError(f"--images {folder} is not a folder")
    fitted: list[Frame] = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            continue
        target = FrameInput(frames.size_wh, "center-crop") if frames.fit == "exact" else frames
        fitted.append(fit_frame(np.asarray(image, np.uint8), target)[0])
        if len(fitted) == FRAME_COUNT:
            break
    if not fitted:
        raise UsageError(f"--images {folder} holds no readable image ({', '.join(sorted(_SUFFIXES))})")
    return np.stack(fitted)


def network_input(
    frames_bgr: npt.NDArray[np.uint8], frames: FrameInput, network_wh: tuple[int, int], pixels: Pixels
) -> torch.Tensor:
    """What the graph's own preparation should hand to the network, computed by PyTorch: float32 ``[B,3,h,w]``."""
    tensor = torch.from_numpy(np.ascontiguousarray(frames_bgr.transpose(0, 3, 1, 2))).float()
    if frames.size_wh != network_wh:
        tensor = _letterbox(tensor, LetterboxGeometry.of(frames.size_wh, network_wh), frames.pad_value)
    if pixels.order == "rgb":
        tensor = tensor.flip(1)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (pixels.mean, pixels.std))
    return (tensor * pixels.scale - mean) / std


def golden_from_source(
    source: SourceModel,
    frames_bgr: npt.NDArray[np.uint8],
    frames: FrameInput,
    network_wh: tuple[int, int],
    pixels: Pixels,
    nms: NmsSpec | None,
) -> Golden:
    """Let the source model answer the frames; boxes are in the pixels of the graph's input."""
    with torch.no_grad():
        answers = source.answer(network_input(frames_bgr, frames, network_wh, pixels), nms)
    if frames.size_wh != network_wh:
        answers = _boxes_to_frame(answers, LetterboxGeometry.of(frames.size_wh, network_wh))
    return Golden(frames_bgr, answers)


def _letterbox(tensor: torch.Tensor, geometry: LetterboxGeometry, pad_value: int) -> torch.Tensor:
    width, height = geometry.content_wh
    scaled = torch.nn.functional.interpolate(tensor, (height, width), mode="bilinear", align_corners=False)
    left, top = geometry.pad_xy
    right, bottom = geometry.canvas_wh[0] - width - left, geometry.canvas_wh[1] - height - top
    return torch.nn.functional.pad(scaled, (left, right, top, bottom), value=float(pad_value))


def _boxes_to_frame(answers: Outputs, geometry: LetterboxGeometry) -> Outputs:
    boxes, scores, labels = answers
    moved = geometry.placement.frame_from_input(boxes.reshape(-1, 4)).reshape(boxes.shape)
    moved[scores == 0] = 0
    return moved, scores, labels
