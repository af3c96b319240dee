"""Networks in PyTorch as `SourceModel`: the answers that every graph is held against, in plain PyTorch."""

from __future__ import annotations

import torch

from edgevision.export.recipe import SourceModel
from edgevision.results import Outputs
from edgevision.spec import NmsSpec


def classifier_source(module: torch.nn.Module, variant: str, class_count: int) -> SourceModel:
    """A network that answers logits ``[B,C]``; classes are numbered, since state dicts carry no names."""

    def answer(tensor: torch.Tensor, nms: NmsSpec | None) -> Outputs:
        del nms
        return (module(tensor).softmax(dim=1).numpy(),)

    return SourceModel(module, variant, tuple(str(label) for label in range(class_count)), answer)
