"""Head of the instance segmentation models: a detector's, coefficients of each box, and prototypes of masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from edgevision.errors import CheckpointError
from edgevision.models.layers.blocks import Proto
from edgevision.models.layers.part import Part
from edgevision.models.ultralytics.heads.head import HeadKind, TowerHead, bins_of, towers_of


class SegmentHead(TowerHead):
    """A head whose third tower ``cv4`` gives ``mask_count`` coefficients of each box.

    The prototypes ``[B,mask_count,H/4,W/4]`` come last (YOLACT, arXiv 1904.02689, section 3.1).
    """

    def __init__(
        self, towers: dict[str, nn.ModuleList], bins: int, proto: Proto | FusedProto, mask_count: int
    ) -> None:
        super().__init__(towers, bins)
        self.proto = proto
        self.mask_count = self.further = mask_count

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The raw maps of every tower, and the prototypes."""
        finest = maps if isinstance(self.proto, FusedProto) else maps[0]
        return [*super().forward(maps), self.proto(finest)]


class FusedProto(nn.Module):
    """Proto26 of YOLO26: prototypes from the maps of all scales, each added to the finest at its size."""

    def __init__(self, feat_refine: nn.ModuleList, feat_fuse: nn.Module, proto: Proto) -> None:
        super().__init__()
        self.feat_refine = feat_refine
        self.feat_fuse = feat_fuse
        self.cv1, self.upsample, self.cv2, self.cv3 = proto.cv1, proto.upsample, proto.cv2, proto.cv3

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Maps, finest first, to ``[B,masks,2h,2w]``."""
        x, *others = maps
        for number, (layer, other) in enumerate(zip(self.feat_refine, others, strict=True), 1):
            x = x + functional.interpolate(layer(other), scale_factor=float(2**number), mode="nearest")
        out: torch.Tensor = self.cv3(self.cv2(self.upsample(self.cv1(self.feat_fuse(x)))))
        return out


def fused_proto(part: Part) -> FusedProto:
    """Builder of Proto26."""
    refine, fuse = part.take_as("feat_refine", nn.ModuleList), part.take("feat_fuse")
    parts = (part.take(name) for name in ("cv1", "upsample", "cv2", "cv3"))
    return FusedProto(refine, fuse, Proto(*parts))


def _segment(part: Part) -> SegmentHead:
    proto = part.take("proto")
    if not isinstance(proto, (Proto, FusedProto)):
        raise CheckpointError(f"{part.kind}: part 'proto' is {type(proto).__name__}, expected prototypes")
    return SegmentHead(towers_of(part, "cv2", "cv3", "cv4"), bins_of(part), proto, part.integer("nm"))


SEGMENT = HeadKind("instances", _segment, unused=("proto.semseg",))
