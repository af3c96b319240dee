"""Selects the golden frames: real photographs in the graph's input format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgevision.contract.image import Frame, fit_frame
from edgevision.contract.nv12 import KINDS, nv12_from_bgr
from edgevision.contract.spec import FrameInput
from edgevision.errors import SourceError, UsageError
from edgevision.sources.image_files import IMAGE_SUFFIXES, read_image
from edgevision.sources.synthetic_camera import PHOTOGRAPHS

FRAME_COUNT = 4


def golden_frames(folder: Path | None, frames: FrameInput) -> npt.NDArray[np.uint8]:
    """The first `FRAME_COUNT` readable images of a folder (default: our photographs), in the input's size and layout.

    Frames of the layout "nv12" have the matrices and ranges of `KINDS` in turn, and fewer images than kinds are
    repeated, so that each kind is verified. If the graph takes camera frames of one size, each photograph is scaled to
    cover that size and cropped, like a frame of such a camera. Raises `UsageError` if the folder holds no readable
    image.
    """
    folder = folder or PHOTOGRAPHS
    if not folder.is_dir():
        raise UsageError(f"--images {folder} is not a folder")
    target = FrameInput(frames.size_wh, "center-crop") if frames.fit == "exact" else frames.in_bgr
    fitted: list[Frame] = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES):
        try:
            fitted.append(fit_frame(read_image(path), target)[0])
        except SourceError:
            continue  # a damaged file is skipped if others are readable
        if len(fitted) == FRAME_COUNT:
            break
    if not fitted:
        raise UsageError(f"--images {folder} holds no readable image ({' '.join(sorted(IMAGE_SUFFIXES))})")
    if frames.layout == "nv12":
        rows = range(max(len(fitted), len(KINDS)))
        pairs = [(fitted[row % len(fitted)], KINDS[row % len(KINDS)]) for row in rows]
        return np.stack([nv12_from_bgr(image, kind) for image, kind in pairs])
    return np.stack(fitted)
