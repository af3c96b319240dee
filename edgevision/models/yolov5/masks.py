"""Masks of YOLOv5's segmentation models: the reference for the graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from edgevision.contract.spec import NmsSpec
from edgevision.models.masks import Mixture, mixture_of_detections
from edgevision.models.yolov5.decode import decode, without_coefficients


def decode_with_coefficients(
    outputs: Sequence[torch.Tensor], anchors_px: torch.Tensor, strides: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`decode` of a segmentation model's outputs (its maps, then its prototypes), and coefficients ``[B,N,M]``."""
    *maps, prototypes = outputs
    plain, coefficients = without_coefficients(maps, anchors_px.shape[1], prototypes.shape[1])
    return (*decode(plain, anchors_px, strides), coefficients)


def mixture_from_outputs(
    outputs: Sequence[torch.Tensor], anchors_px: torch.Tensor, strides: Sequence[int], nms: NmsSpec
) -> Mixture:
    """Decode the outputs of a segmentation model (its maps, then its prototypes) and apply NMS."""
    return mixture_of_detections(*decode_with_coefficients(outputs, anchors_px, strides), outputs[-1], nms)
