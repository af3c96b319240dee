"""Builders of the layers of the Ultralytics package, with sizes and switches from a pickled model's attributes."""

from __future__ import annotations

from torch import nn

from edgevision.errors import CheckpointError
from edgevision.models.layers.block_kinds import SHARED_KINDS
from edgevision.models.layers.part import Builder, Part
from edgevision.models.ultralytics.attention import AreaAttention, AreaChain, Attention, AttentionBlock, Psa
from edgevision.models.ultralytics.blocks import (
    AverageDown,
    Branch,
    Chain,
    Elan,
    Fuse,
    Halves,
    InSequence,
    MultiLinear,
    Parallel,
    Shortcut,
    SplitDown,
    SppElan,
    Stage,
)


def _chain(part: Part) -> nn.Module:
    return Chain(part.take("cv1"), part.take("cv2"), part.take_as("m", nn.ModuleList))


def _parallel(*names: str) -> Builder:
    """Branches that the file still has; of a fused layer only one is left."""

    def builder(part: Part) -> nn.Module:
        branches = {name: part.take(name) for name in names if name in part.children}
        if not branches:
            raise CheckpointError(f"{part.kind} without any of its parts {', '.join(names)}")
        return Parallel(branches, part.take("act"))

    return builder


def _split_down(part: Part) -> nn.Module:
    return SplitDown(part.take("cv1"), part.take("cv2"))


def _elan(part: Part) -> nn.Module:
    return Elan(*(part.take(name) for name in ("cv1", "cv2", "cv3", "cv4")))


def _spp_elan(part: Part) -> nn.Module:
    return SppElan(*(part.take(name) for name in ("cv1", "cv2", "cv3", "cv4", "cv5")))


def _res_net_block(part: Part) -> nn.Module:
    return Branch(*(part.take(name) for name in ("cv1", "cv2", "cv3", "shortcut")))


def _multi_linear(part: Part) -> nn.Module:
    return MultiLinear(part.take_as("conv", nn.Conv2d), part.integers("c2s"))


def _attention(part: Part) -> nn.Module:
    return Attention(
        part.take("qkv"),
        part.take("proj"),
        part.take("pe"),
        heads=part.integer("num_heads"),
        key_dim=part.integer("key_dim"),
        head_dim=part.integer("head_dim"),
    )


def _area_attention(part: Part) -> nn.Module:
    return AreaAttention(
        part.take("qkv"),
        part.take("proj"),
        part.take("pe"),
        heads=part.integer("num_heads"),
        head_dim=part.integer("head_dim"),
        area=part.integer("area"),
    )


def _psa(part: Part) -> nn.Module:
    return Psa(part.take("cv1"), part.take("cv2"), part.take("attn"), part.take("ffn"))


def _area_chain(part: Part) -> nn.Module:
    m = part.take_as("m", nn.ModuleList)
    return AreaChain(part.take("cv1"), part.take("cv2"), m, part.parameter_length("gamma"))


ULTRALYTICS_KINDS: dict[str, Builder] = {
    **SHARED_KINDS,
    **dict.fromkeys(("C2f", "C3k2", "C2fCIB", "C2fPSA"), _chain),
    **dict.fromkeys(("C3k", "RepCSP"), SHARED_KINDS["C3"]),
    **dict.fromkeys(("RepNCSPELAN4", "ELAN1"), _elan),
    "A2C2f": _area_chain,
    "AAttn": _area_attention,
    "ABlock": lambda part: AttentionBlock(part.take("attn"), "mlp", part.take("mlp")),
    "AConv": lambda part: AverageDown(part.take("cv1")),
    "ADown": _split_down,
    "Attention": _attention,
    "C2": lambda part: Halves(part.take("cv1"), part.take("cv2"), part.take("m"), first=True),
    "C2PSA": lambda part: Halves(part.take("cv1"), part.take("cv2"), part.take("m"), first=False),
    "CBFuse": lambda part: Fuse(part.integers("idx")),
    "CBLinear": _multi_linear,
    "CIB": lambda part: Shortcut(part.take("cv1"), add=part.flag("add")),
    "PSA": _psa,
    "PSABlock": lambda part: AttentionBlock(
        part.take("attn"), "ffn", part.take("ffn"), add=part.flag("add", default=True)
    ),
    "RepBottleneck": SHARED_KINDS["Bottleneck"],
    "RepConv": _parallel("conv1", "conv2", "bn", "conv"),
    "RepVGGDW": _parallel("conv", "conv1"),
    "ResNetBlock": _res_net_block,
    "ResNetLayer": lambda part: Stage(part.take("layer")),
    "SCDown": lambda part: InSequence(part.take("cv1"), part.take("cv2")),
    "SPPELAN": _spp_elan,
}
"""Builders by layer, without heads."""
