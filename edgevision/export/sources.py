"""Networks in PyTorch as `SourceModel`: the answers that every graph is held against, in plain PyTorch."""

from __future__ import annotations

import torch

from edgevision.export.recipe import SourceModel
from edgevision.graph.heads import YoloV5RawHead
from edgevision.models.yolov5 import YoloV5
from edgevision.models.yolov5_decode import decode, detections
from edgevision.results import Outputs
from edgevision.spec import NmsSpec


def classifier_source(
    module: torch.nn.Module, variant: str, class_count: int, class_names: tuple[str, ...] = ()
) -> SourceModel:
    """A network that answers logits ``[B,C]``; classes without names are numbered."""

    def answer(tensor: torch.Tensor, nms: NmsSpec | None) -> Outputs:
        del nms
        return (module(tensor).softmax(dim=1).numpy(),)

    numbers = tuple(str(label) for label in range(class_count))
    return SourceModel(module, variant, class_names if len(class_names) == class_count else numbers, answer)


def yolov5_source(model: YoloV5) -> SourceModel:
    """YOLOv5 with its batch normalisation folded, decoded and suppressed by the plain reference."""
    model.fuse()
    anchors_px = model.anchors_px

    def answer(tensor: torch.Tensor, nms: NmsSpec | None) -> Outputs:
        assert nms is not None, "a detector is asked with its suppression settings"
        return detections(*decode(model(tensor), anchors_px, model.strides), nms)

    anchors = tuple(tuple((float(w), float(h)) for w, h in scale) for scale in anchors_px.tolist())
    head = YoloV5RawHead(anchors, model.strides, model.class_count)
    return SourceModel(model, model.variant, model.names, answer, head)
