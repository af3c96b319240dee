"""SegFormer with the names and results of transformers, from its shapes and back."""

from __future__ import annotations

import pytest
import torch

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.segformer import SegFormer, SegFormerShape, is_segformer, segformer_from_state_dict
from tests.models.classifiers.library_names import CLASSES, FACTS, facts_of, images, seeded_state
from tests.models.segformer_names import SEGFORMER_IMAGE, SMALL_SHAPE, segformer_sizes

WIDE = (64, 128, 320, 512)


@pytest.mark.parametrize(
    "shape", [SegFormerShape(), SegFormerShape(WIDE), SegFormerShape(WIDE, (3, 4, 6, 3), 4, 768)]
)
def test_names_and_shapes_are_those_of_transformers(shape: SegFormerShape) -> None:
    assert facts_of(segformer_sizes(shape, CLASSES)) == FACTS["names"][shape.name]


def test_logits_are_those_of_transformers() -> None:
    state = seeded_state(segformer_sizes(SMALL_SHAPE, CLASSES))
    assert is_segformer(state)
    found = segformer_from_state_dict(state)
    assert (found.shape, found.class_count) == (SMALL_SHAPE, CLASSES)
    quarter = SEGFORMER_IMAGE // 4
    expected = torch.tensor(FACTS["logits"]["segformer"]).view(2, CLASSES, quarter // 4, quarter // 4)
    with torch.inference_mode():
        logits = found(images(SEGFORMER_IMAGE))
        coarse = found.decode_head(found.segformer.encoder(images(SEGFORMER_IMAGE)))
    assert logits.shape == (2, CLASSES, SEGFORMER_IMAGE, SEGFORMER_IMAGE)
    assert (coarse[:, :, ::4, ::4] - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_names_of_checkpoints_and_a_prefix() -> None:
    torch.manual_seed(0)
    source = SegFormer(3, SMALL_SHAPE).eval()
    wrapped = {f"model.{name}": value for name, value in source.state_dict().items()}
    assert is_segformer(wrapped)
    image = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        assert torch.equal(segformer_from_state_dict(wrapped)(image), source(image))


@pytest.mark.parametrize(
    "left_out",
    [
        "segformer.encoder.patch_embeddings.0.proj.weight",
        "segformer.encoder.patch_embeddings.2.proj.weight",
        "segformer.encoder.block.0.0.mlp.dense1.weight",
        "decode_head.linear_fuse.weight",
        "decode_head.classifier.weight",
    ],
)
def test_another_network_s_weights(left_out: str) -> None:
    tensors = SegFormer(2, SMALL_SHAPE).state_dict()
    del tensors[left_out]
    with pytest.raises(CheckpointError, match="weights"):
        segformer_from_state_dict(tensors)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("decode_head.classifier.weight", (0, 24, 1, 1)),
        ("decode_head.classifier.weight", ()),
        ("segformer.encoder.patch_embeddings.0.proj.weight", (0, 3, 7, 7)),
        ("segformer.encoder.patch_embeddings.1.proj.weight", ()),
        ("decode_head.linear_fuse.weight", (0, 96, 1, 1)),
    ],
)
def test_forged_shapes(name: str, size: tuple[int, ...]) -> None:
    tensors = SegFormer(2, SMALL_SHAPE).state_dict()
    with pytest.raises(CheckpointError, match="not the weights of a SegFormer"):
        segformer_from_state_dict(tensors | {name: torch.zeros(size)})


def test_impossible_shapes() -> None:
    with pytest.raises(UsageError, match="four stages"):
        SegFormerShape((32, 64))
    with pytest.raises(UsageError, match="multiples of the heads"):
        SegFormerShape((8, 15, 40, 64))
    with pytest.raises(UsageError, match="class count must be positive"):
        SegFormer(0)
