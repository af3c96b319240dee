"""Heads and models of the Ultralytics package, written from their description, each with its own forward."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tests.models.forged_layers import Conv, DWConv, Model
from tests.models.forged_ultralytics import BLOCKS


class DFL(nn.Module):
    def __init__(self, c1: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c1, 1, 1, bias=False)
        self.conv.weight.data[:] = torch.arange(c1).view(1, c1, 1, 1)


class Proto(nn.Module):
    def __init__(self, c1: int, npr: int, nm: int) -> None:
        super().__init__()
        self.cv1, self.cv2, self.cv3 = Conv(c1, npr, 3), Conv(npr, npr, 3), Conv(npr, nm)
        self.upsample = nn.ConvTranspose2d(npr, npr, 2, 2)

    def forward(self, x: Any) -> Any:
        return self.cv3(self.cv2(self.upsample(self.cv1(x))))


class Proto26(Proto):
    def __init__(self, ch: Sequence[int], npr: int, nm: int) -> None:
        super().__init__(npr, npr, nm)
        self.feat_refine = nn.ModuleList([Conv(c, ch[0]) for c in ch[1:]])
        self.feat_fuse = Conv(ch[0], npr, 3)
        self.semseg = nn.Sequential(Conv(ch[0], npr, 3), nn.Conv2d(npr, 2, 1))

    def forward(self, x: Any) -> Any:
        fine = x[0]
        for layer, y in zip(self.feat_refine, x[1:], strict=True):
            ratio = x[0].shape[2] // y.shape[2]
            fine = fine + layer(y).repeat_interleave(ratio, 2).repeat_interleave(ratio, 3)
        return super().forward(self.feat_fuse(fine))


class Detect(nn.Module):
    """Returns what the package decodes: all towers' raw maps, of the one-to-one head if it has one."""

    towers: tuple[str, ...] = ("cv2", "cv3")
    further: tuple[str, ...] = ()

    def __init__(self, nc: int, ch: Sequence[int], bins: int = 4, one2one: bool = False) -> None:
        super().__init__()
        self.nc, self.nl, self.reg_max = nc, len(ch), bins
        self.widths(ch)
        self.dfl = DFL(bins) if bins > 1 else nn.Identity()
        if one2one:
            for name in (*self.towers, *self.further):
                setattr(self, f"one2one_{name}", copy.deepcopy(getattr(self, name)))
                for tower in getattr(self, f"one2one_{name}"):
                    nn.init.normal_(tower.weight if isinstance(tower, nn.Conv2d) else tower[-1].weight)

    def widths(self, ch: Sequence[int]) -> None:
        self.cv2 = self.tower(ch, 4 * self.reg_max)
        self.cv3 = self.tower(ch, self.nc)

    def tower(self, ch: Sequence[int], outputs: int) -> nn.ModuleList:
        return nn.ModuleList(
            [nn.Sequential(DWConv(c, c, 3), Conv(c, 8), nn.Conv2d(8, outputs, 1)) for c in ch]
        )

    def raw(self, x: Any, prefix: str) -> list[Any]:
        return [
            layer(y) for name in self.towers for layer, y in zip(getattr(self, prefix + name), x, strict=True)
        ]

    @property
    def prefix(self) -> str:
        """Of the names of the towers that `forward` uses."""
        return "one2one_" if hasattr(self, "one2one_cv2") else ""

    def forward(self, x: Any) -> Any:
        return self.raw(x, self.prefix)


class v10Detect(Detect):  # noqa: N801  # the package's name
    pass


class Segment(Detect):
    towers = ("cv2", "cv3", "cv4")
    nm = 5

    def widths(self, ch: Sequence[int]) -> None:
        super().widths(ch)
        self.cv4 = self.tower(ch, self.nm)
        self.nm = self.nm
        self.proto: nn.Module = Proto(ch[0], 8, self.nm)

    def forward(self, x: Any) -> Any:
        return [*super().forward(x), self.proto(x[0])]


class Segment26(Segment):
    def widths(self, ch: Sequence[int]) -> None:
        super().widths(ch)
        self.proto = Proto26(ch, 8, self.nm)

    def forward(self, x: Any) -> Any:
        return [*Detect.forward(self, x), self.proto(x)]


class OBB(Detect):
    towers = ("cv2", "cv3", "cv4")

    def widths(self, ch: Sequence[int]) -> None:
        super().widths(ch)
        self.ne = 1
        self.cv4 = self.tower(ch, 1)


class OBB26(OBB):
    pass


class Pose(Detect):
    towers = ("cv2", "cv3", "cv4")
    kpt_shape: Any = (5, 3)

    def widths(self, ch: Sequence[int]) -> None:
        super().widths(ch)
        self.kpt_shape = self.kpt_shape
        self.cv4 = self.tower(ch, self.kpt_shape[0] * self.kpt_shape[1])


class RealNVP(nn.Module):
    """Serves the loss of training only."""


class Pose26(Pose):
    further = ("cv4_kpts", "cv4_sigma")

    def widths(self, ch: Sequence[int]) -> None:
        super().widths(ch)
        self.cv4 = self.tower(ch, 8)
        self.cv4_kpts = nn.ModuleList([nn.Conv2d(8, 15, 1) for _ in ch])
        self.cv4_sigma = nn.ModuleList([nn.Conv2d(8, 10, 1) for _ in ch])
        self.flow_model = RealNVP()

    def forward(self, x: Any) -> Any:
        maps, last = super().forward(x), getattr(self, f"{self.prefix}cv4_kpts")
        return [*maps[: -self.nl], *(layer(y) for layer, y in zip(last, maps[-self.nl :], strict=True))]


class Classify(nn.Module):
    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.conv = Conv(c1, 24)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.0)
        self.linear = nn.Linear(24, c2)

    def forward(self, x: Any) -> Any:
        return self.linear(self.conv(x).mean((2, 3)))


class WorldDetect(Detect):
    pass


class DetectionModel(Model):
    pass


class SegmentationModel(DetectionModel):
    pass


class ClassificationModel(Model):
    pass


HEADS = (
    *(Classify, Detect, OBB, OBB26, Pose, Pose26, Segment, Segment26, WorldDetect, v10Detect),
    *(DFL, Proto, Proto26, RealNVP),
)
MODELS = (ClassificationModel, DetectionModel, SegmentationModel)
PLACES = {
    "ultralytics.nn.modules.block": BLOCKS,
    "ultralytics.nn.modules.head": HEADS,
    "ultralytics.nn.tasks": MODELS,
}
"""Classes by the module that pickles name."""
