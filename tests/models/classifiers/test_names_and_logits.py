"""Classifiers with the names, shapes and logits of torchvision and timm, which are recorded in ``facts.json``."""

from __future__ import annotations

import pytest
import torch

from edgevision.models.classifiers.convnext import ConvNextShape
from edgevision.models.classifiers.family import LIBRARIES, Shape, classifier_from_state_dict
from edgevision.models.classifiers.vit import VitShape
from tests.models.classifiers.library_names import (
    CASES,
    CLASSES,
    FACTS,
    FAMILIES,
    facts_of,
    family_with,
    images,
    library_of,
    library_sizes,
    seeded_state,
)

RELATIVE = 1e-4
"""Largest difference of logits, relative to their largest value; 1.5e-6 on the machine of the record."""
READ = {
    "torchvision/convnext_tiny": ConvNextShape(),
    "torchvision/convnext_small": ConvNextShape((3, 3, 27, 3)),
    "torchvision/convnext_base": ConvNextShape((3, 3, 27, 3), (128, 256, 512, 1024)),
    "timm/convnext_tiny": ConvNextShape(),
    "timm/convnext_small": ConvNextShape((3, 3, 27, 3)),
    "timm/convnext_base": ConvNextShape((3, 3, 27, 3), (128, 256, 512, 1024)),
    "torchvision/vit_b_16": VitShape(768, 12, 16, 14),
    "torchvision/vit_b_32": VitShape(768, 12, 32, 7),
    "timm/vit_tiny_patch16_224": VitShape(192, 12, 16, 14),
    "timm/vit_small_patch16_224": VitShape(384, 12, 16, 14),
    "timm/vit_small_patch32_224": VitShape(384, 12, 32, 7),
    "timm/vit_base_patch16_224": VitShape(768, 12, 16, 14),
    "timm/vit_base_patch32_224": VitShape(768, 12, 32, 7),
}
"""Shapes that are read from the file instead of a table."""
NOT_RECORDED = ["MobileNetV2 x0.35", "MobileNetV2 x0.75", "MobileNetV3-large x0.75"]


def _members() -> list[Shape]:
    """All members of all families."""
    tables = [family.shapes for family in FAMILIES.values()]
    listed = [shape for shapes in tables if not callable(shapes) for shape in shapes]
    return [*listed, *dict.fromkeys(READ.values())]


def test_members_have_the_libraries_names_and_shapes() -> None:
    """Each recorded model is a member, with its number of parameters; each member is a recorded model."""
    recorded = {
        (library_of(name), fact["sha256"]): name for name, fact in FACTS["names"].items() if "/" in name
    }
    found: dict[str, Shape] = {}
    unknown = []
    for shape in _members():
        facts = {library: facts_of(library_sizes(shape, 1000, library)) for library in LIBRARIES}
        names = [recorded.get((library, fact["sha256"])) for library, fact in facts.items()]
        for name in filter(None, names):
            found[name] = shape
            assert facts[library_of(name)]["parameters"] == FACTS["names"][name]["parameters"]
        unknown += [] if any(names) else [shape.name]
    assert set(found) == set(recorded.values())
    assert unknown == NOT_RECORDED
    assert {name: found[name] for name in READ} == READ
    assert (
        found["timm/efficientnet_b3"].name == found["torchvision/efficientnet_b3"].name == "EfficientNet-B3"
    )
    assert found["torchvision/regnet_y_1_6gf"].name == "RegNetY-1.6GF"


@pytest.mark.parametrize("case", CASES)
def test_logits(case: str) -> None:
    """The family, the member and the naming are recognised from a state dict; its logits are the library's."""
    name, shape = CASES[case]
    family, library = family_with(name, shape), library_of(case)
    state = seeded_state(library_sizes(shape, CLASSES, library))
    assert [key for key, other in FAMILIES.items() if other.library(state)] == [name]
    wrapped = {f"model.{key}": value for key, value in state.items()}
    found = classifier_from_state_dict(family, wrapped)
    assert (found.shape, found.library, found.class_count) == (shape, library, CLASSES)
    expected = torch.tensor(FACTS["logits"][case]).view(2, CLASSES)
    with torch.inference_mode():
        logits = found.module(images())
    assert (logits - expected).abs().max() <= RELATIVE * expected.abs().max()
    assert (expected[0] - expected[1]).abs().max() > 0.01 * expected.abs().max(), (
        "the images make a difference"
    )
