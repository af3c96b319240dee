"""Images that networks make."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from edgevision.graph.preprocess import PixelFormat


def images_bgr(images: torch.Tensor, pixels: PixelFormat) -> npt.NDArray[np.uint8]:
    """Images ``[B,3,h,w]`` or ``[B,1,h,w]`` in a pixel format as uint8 ``[B,h,w,3]`` BGR: limited to 0..255, rounded.

    A grey image has equal channels; the first value of mean and std counts.
    """
    channels = images.shape[1]
    mean, std = (
        torch.tensor(values[:channels], dtype=torch.float64).view(1, -1, 1, 1)
        for values in (pixels.mean, pixels.std)
    )
    levels = ((images.double() * std + mean) / pixels.scale).clamp(0, 255).round().expand(-1, 3, -1, -1)
    levels = levels.flip(1) if pixels.order == "rgb" else levels
    return levels.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()
