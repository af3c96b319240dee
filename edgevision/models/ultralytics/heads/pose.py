"""Head of the pose models: a detector's, and the keypoints of each box."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from edgevision.errors import CheckpointError
from edgevision.models.layers.part import Part
from edgevision.models.ultralytics.heads.head import HeadKind, TowerHead, bins_of, towers_of

TRAINING_ONLY = ("flow_model", "cv4_sigma", "one2one_cv4_sigma")


class PoseTowers(TowerHead):
    """A head whose third tower gives ``[B,points*values,h,w]``: x and y of each keypoint, and its confidence's logit.

    `values` are 2 or 3. Offsets x and y are in strides: from a cell's centre if `centred`, else half of the distance
    from its corner.
    """

    def __init__(
        self, towers: dict[str, nn.ModuleList], bins: int, shape: tuple[int, int], *, centred: bool
    ) -> None:
        super().__init__(towers, bins)
        self.points, self.values = shape
        self.further = self.points * self.values
        self.centred = centred


class SplitPoseTowers(PoseTowers):
    """Pose26 of YOLO26: the third tower ends in a layer of its own, ``cv4_kpts``."""

    def __init__(
        self,
        towers: dict[str, nn.ModuleList],
        bins: int,
        shape: tuple[int, int],
        cv4_kpts: nn.ModuleList,
    ) -> None:
        super().__init__(towers, bins, shape, centred=True)
        self.cv4_kpts = cv4_kpts

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The raw maps of every tower."""
        found = super().forward(maps)
        first = len(found) - len(maps)
        return [*found[:first], *(layer(x) for layer, x in zip(self.cv4_kpts, found[first:], strict=True))]


def _shape(part: Part) -> tuple[int, int]:
    shape = part.integers("kpt_shape")
    if len(shape) != 2 or shape[1] not in (2, 3) or not 1 <= shape[0] <= 1000:
        raise CheckpointError(
            f"{part.kind}.kpt_shape is {shape[:4]}, expected keypoints and 2 or 3 values of each"
        )
    return shape[0], shape[1]


def _pose(part: Part) -> PoseTowers:
    return PoseTowers(towers_of(part, "cv2", "cv3", "cv4"), bins_of(part), _shape(part), centred=False)


def _split_pose(part: Part) -> SplitPoseTowers:
    towers = towers_of(part, "cv2", "cv3", "cv4")
    return SplitPoseTowers(towers, bins_of(part), _shape(part), part.take_as("cv4_kpts", nn.ModuleList))


POSE = HeadKind("pose", _pose)
SPLIT_POSE = HeadKind("pose", _split_pose, unused=TRAINING_ONLY)
