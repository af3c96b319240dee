"""A pickled layer's stand-in during its rebuild: attributes that are checked on access, and finished children."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import nn

from edgevision.checkpoint.pickled import PickledObject
from edgevision.checkpoint.reading import named_entries
from edgevision.errors import CheckpointError

_Child = TypeVar("_Child", bound=nn.Module)
_DEPTH_LIMIT = 50


class Part:
    """One stand-in: its attributes, and its rebuilt children, which a builder takes."""

    def __init__(self, pickled: PickledObject, children: OrderedDict[str, nn.Module]) -> None:
        self.kind = kind_of(pickled)
        self.children = children
        self._state = pickled.state
        self._parameters = dict(named_entries(pickled, "_parameters"))
        self._buffers = dict(named_entries(pickled, "_buffers"))

    def take(self, name: str) -> nn.Module:
        """A child that the layer requires."""
        if name not in self.children:
            raise CheckpointError(f"{self.kind} without its part {name!r}")
        return self.children.pop(name)

    def take_as(self, name: str, cls: type[_Child]) -> _Child:
        """A child of a given class."""
        child = self.take(name)
        if not isinstance(child, cls):
            raise CheckpointError(
                f"{self.kind}: part {name!r} is {type(child).__name__}, expected {cls.__name__}"
            )
        return child

    def value(self, name: str, default: object = None) -> object:
        """An attribute, unchecked."""
        return self._state.get(name, default)

    def integer(self, name: str) -> int:
        """An integer attribute."""
        value = self.value(name)
        if type(value) is not int:
            raise CheckpointError(f"{self.kind}.{name} is {shown(value)}, expected a whole number")
        return value

    def number(self, name: str, default: float) -> float:
        """A numeric attribute."""
        value = self.value(name, default)
        if type(value) not in (int, float):
            raise CheckpointError(f"{self.kind}.{name} is {shown(value)}, expected a number")
        return float(value)  # type: ignore[arg-type]  # its type was checked

    def pair(self, name: str) -> tuple[int, int]:
        """An attribute for height and width; one number serves both."""
        value = self.value(name)
        if type(value) is int:
            return value, value
        if isinstance(value, (tuple, list)) and len(value) == 2 and all(type(item) is int for item in value):
            return value[0], value[1]
        raise CheckpointError(f"{self.kind}.{name} is {shown(value)}, expected one or two whole numbers")

    def integers(self, name: str) -> tuple[int, ...]:
        """An attribute of several integers."""
        value = self.value(name)
        if not isinstance(value, (tuple, list)) or not all(type(item) is int for item in value):
            raise CheckpointError(f"{self.kind}.{name} is {shown(value)}, expected whole numbers")
        return tuple(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean attribute."""
        return bool(self.value(name, default))

    def has_tensor(self, name: str) -> bool:
        """True if a parameter of this name has values."""
        return isinstance(self._parameters.get(name), torch.Tensor)

    def buffer(self, name: str) -> torch.Tensor | None:
        """A buffer's values."""
        tensor = self._buffers.get(name)
        return tensor if isinstance(tensor, torch.Tensor) else None

    def parameter_length(self, name: str) -> int:
        """The number of a parameter's values, 0 if it is missing."""
        tensor = self._parameters.get(name)
        return tensor.numel() if isinstance(tensor, torch.Tensor) else 0


def shown(value: object) -> str:
    """A number unchanged, and only the type of anything else: a file can make it long or deep."""
    return repr(value) if isinstance(value, (int, float)) else f"a {type(value).__name__}"


def kind_of(pickled: PickledObject) -> str:
    """A class's name as architectures spell it: "Conv", "nn.Conv2d"."""
    return f"nn.{pickled.kind}" if pickled.class_name.startswith("torch.nn.") else pickled.kind


Builder = Callable[[Part], nn.Module]
Builders = Mapping[str, Builder]
"""Builders by a layer's name, as `kind_of` spells it."""


def rebuild(pickled: PickledObject, builders: Builders, depth: int = 0) -> nn.Module:
    """The layer that a stand-in describes, without values on the meta device.

    Raises `CheckpointError` for an unknown kind of layer, or one with unsuitable parts or attributes.
    """
    kind = kind_of(pickled)
    if depth > _DEPTH_LIMIT:
        raise CheckpointError(f"{kind}: layers nested deeper than {_DEPTH_LIMIT}")
    builder = builders.get(kind)
    if builder is None:
        raise CheckpointError(
            f"unknown layer {pickled.class_name!a:.120}; supported: {', '.join(sorted(builders))}"
        )
    children: OrderedDict[str, nn.Module] = OrderedDict()
    for name, child in named_entries(pickled, "_modules"):
        if isinstance(child, PickledObject):
            children[name] = rebuild(child, builders, depth + 1)
    part = Part(pickled, children)
    try:
        layer = builder(part)
    except (ValueError, TypeError, RuntimeError, AssertionError, ArithmeticError) as error:
        raise CheckpointError(f"{kind} with attributes that do not fit: {str(error)[:200]}") from error
    if part.children:
        raise CheckpointError(f"{kind} with an unknown part {next(iter(part.children))!a:.60}")
    return layer
