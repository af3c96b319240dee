"""Families of classifiers: recognising a state dict of torchvision or timm, and loading it under one naming.

The networks have torchvision's parameter names. Each shape of a family lists timm's names for its layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import nn

from edgevision.errors import CheckpointError
from edgevision.models.weights import assign_weights, without_prefix

Library = Literal["torchvision", "timm"]
"""The library whose parameter names a state dict has."""
LIBRARIES: tuple[Library, ...] = ("torchvision", "timm")

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class Shape(Protocol):
    """One member of a family: all that its parameters' names and shapes depend on, except the classes."""

    @property
    def name(self) -> str:
        """The name in messages, such as "EfficientNet-B0"."""
        ...

    @property
    def features(self) -> int:
        """Inputs of the last linear layer."""
        ...

    def build(self, class_count: int, library: Library = "torchvision") -> nn.Module:
        """The network with random weights; `library` selects constants in which the libraries differ."""
        ...

    def timm_layers(self) -> dict[str, str]:
        """Our names of layers, or of single tensors, by timm's."""
        ...


@dataclass(frozen=True, slots=True)
class Marks:
    """Names of one library by which a family is recognised."""

    head: str
    """Weight of the last linear layer, ``[classes, features]``."""
    present: tuple[str, ...]
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """The input that a library's published weights of a shape were trained for; RGB, value / 255."""

    size_wh: tuple[int, int]
    crop_fraction: float
    """Share of the shorter side that the centre crop takes."""
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD


def usual_input(shape: Shape, library: Library) -> Expected:
    """224 px of 256 px, as most weights of both libraries."""
    del shape, library
    return Expected((224, 224), 224 / 256)


@dataclass(frozen=True, slots=True)
class Family:
    """A family of classifiers."""

    name: str
    shapes: Sequence[Any] | Callable[[Mapping[str, torch.Tensor], Library], Sequence[Any]]
    """Members, each a `Shape`; or a function that reads them from a state dict without a prefix."""
    marks: Mapping[Library, Marks]
    expected: Callable[[Any, Library], Expected]
    smallest: Shape
    """The member that is exported with random weights."""
    fixed_size: bool = False
    """True if a checkpoint takes images of one size only."""
    tf_models: bool = False
    """timm also has ``tf_`` models with these names and shapes, which pad maps on other sides."""

    def library(self, tensors: Mapping[str, torch.Tensor]) -> Library | None:
        """The library whose names a state dict of this family has, under one prefix or none; None if neither fits."""
        for library, marks in self.marks.items():
            found = without_prefix(tensors, marks.present[0])
            names = (marks.head, *marks.present)
            if all(name in found for name in names) and not any(name in found for name in marks.absent):
                return library
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A classifier from a state dict, in eval mode."""

    module: nn.Module
    shape: Shape
    library: Library
    class_count: int
    expected: Expected
    input_origin: str = ""
    """Where `expected` comes from, for the user."""


def classifier_from_state_dict(family: Family, tensors: Mapping[str, torch.Tensor]) -> Classifier:
    """The classifier with these weights; member, naming and classes are read from names and shapes.

    Raises `CheckpointError` if the weights are not those of a member of the family.
    """
    library = family.library(tensors)
    if library is None:
        wanted = " or ".join(
            f"{', '.join((marks.head, *marks.present))} ({name})" for name, marks in family.marks.items()
        )
        raise CheckpointError(f"not the weights of a {family.name} classifier: expected {wanted}")
    marks = family.marks[library]
    tensors = without_prefix(tensors, marks.present[0])
    head = tensors[marks.head]
    if head.ndim != 2 or not head.shape[0]:
        raise CheckpointError(f"{marks.head} has shape {list(head.shape)}, expected [classes, features]")
    class_count, features = head.shape
    members: Sequence[Shape] = (
        family.shapes if isinstance(family.shapes, Sequence) else family.shapes(tensors, library)
    )
    fitting = [shape for shape in members if shape.features == features]
    if not fitting:
        raise CheckpointError(
            f"a {family.name} whose last layer takes {features} features is not one of"
            f" {', '.join(dict.fromkeys(shape.name for shape in members))}"
        )
    shape, module, renamed = _closest(fitting, tensors, library, class_count)
    assign_weights(module, renamed)
    doubt = ", not of a tf_ model" if library == "timm" and family.tf_models else ""
    origin = f"assumed: input of {library}'s {shape.name}{doubt}; --size, --crop, --mean and --std change it"
    expected = family.expected(shape, library)
    return Classifier(module.eval(), shape, library, class_count, expected, origin)


def _closest(
    shapes: Sequence[Shape], tensors: Mapping[str, torch.Tensor], library: Library, class_count: int
) -> tuple[Shape, nn.Module, dict[str, torch.Tensor]]:
    """The shape that differs least from the tensors in names and shapes, its module, and the renamed tensors."""
    best: tuple[int, Shape, nn.Module, dict[str, torch.Tensor]] | None = None
    for shape in shapes:
        with torch.device("meta"):
            module = shape.build(class_count, library)
        expected = module.state_dict()
        renamed = dict(tensors) if library == "torchvision" else _renamed(shape, tensors, expected)
        wrong = len(expected.keys() ^ renamed.keys()) + sum(
            renamed[name].shape != value.shape for name, value in expected.items() if name in renamed
        )
        if best is None or wrong < best[0]:
            best = wrong, shape, module, renamed
    assert best is not None, "at least one shape"
    return best[1:]


def _renamed(
    shape: Shape, tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """timm's tensors under our names; axes of length 1 are added or dropped where ours have none."""
    table = shape.timm_layers()
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        layer, _, leaf = name.rpartition(".")
        ours = table.get(name) or (f"{table[layer]}.{leaf}" if layer in table else name)
        wanted = expected.get(ours)
        if wanted is not None and _long_axes(tensor) == _long_axes(wanted):
            tensor = tensor.reshape(wanted.shape)
        renamed[ours] = tensor
    return renamed


def _long_axes(tensor: torch.Tensor) -> list[int]:
    return [length for length in tensor.shape if length != 1]


__all__ = [
    "LIBRARIES",
    "Classifier",
    "Expected",
    "Family",
    "Library",
    "Marks",
    "Shape",
    "classifier_from_state_dict",
]
