"""A small SegFormer under the names that transformers 5 uses in memory."""

from __future__ import annotations

from typing import Any

import torch

from edgevision.models.segformer import SegFormer, SegFormerShape

SEGFORMER_IMAGE = 64
SMALL_SEGFORMER: dict[str, Any] = {
    "hidden_sizes": [8, 16, 40, 64],
    "depths": [1, 2, 1, 1],
    "decoder_hidden_size": 24,
}
"""Settings of transformers' configuration."""
SMALL_SHAPE = SegFormerShape((8, 16, 40, 64), (1, 2, 1, 1), 4, 24)

_IN_MEMORY = (
    ("attention.self.sr.", "attention.sequence_reduction.sequence_reduction."),
    ("attention.self.layer_norm.", "attention.sequence_reduction.layer_norm."),
    ("attention.self.query.", "attention.q_proj."),
    ("attention.self.key.", "attention.k_proj."),
    ("attention.self.value.", "attention.v_proj."),
    ("attention.output.dense.", "attention.o_proj."),
    ("layer_norm_1.", "layernorm_before."),
    ("layer_norm_2.", "layernorm_after."),
    ("mlp.dense", "mlp.fc"),
    ("decode_head.linear_c.", "decode_head.linear_projections."),
)


def segformer_sizes(shape: SegFormerShape, class_count: int) -> dict[str, tuple[int, ...]]:
    """Names in memory and shapes of the network's state dict."""
    with torch.device("meta"):
        state = SegFormer(class_count, shape).state_dict()
    return {_in_memory(name): tuple(value.shape) for name, value in state.items()}


def _in_memory(name: str) -> str:
    parts = name.split(".")
    if parts[:2] == ["segformer", "encoder"]:
        kind = {"block": "blocks"}.get(parts[2], parts[2])
        name = ".".join(["segformer", "stages", parts[3], kind, *parts[4:]])
    for ours, theirs in _IN_MEMORY:
        name = name.replace(ours, theirs)
    return name
