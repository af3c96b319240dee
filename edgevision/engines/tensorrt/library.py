"""Imports TensorRT or TensorRT-RTX of any supported version; no other module imports them."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from edgevision.engines.tensorrt.versions import FLAVOURS, MODULES, Dialect, Flavour, dialect
from edgevision.errors import EngineError, MissingExtraError, first_line

EXTRAS: dict[Flavour, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt-rtx"}
"""The extra of this package that installs each flavour."""


@dataclass(frozen=True, slots=True)
class Library:
    """An installed flavour of TensorRT; its objects have the types of the stubs."""

    flavour: Flavour
    version: str
    dialect: Dialect
    module: Any

    @property
    def name(self) -> str:
        """Display name: "TensorRT 10.3.0"."""
        return f"{FLAVOURS[self.flavour]} {self.version}"

    def member(self, enum: str, name: str) -> Any:
        """A member of one of the module's enums, by its name in the version table."""
        return getattr(getattr(self.module, enum), name)


def load_library(flavour: Flavour, purpose: str) -> Library:
    """Import the flavour.

    Raises `MissingExtraError` if it is absent, `EngineError` if it does not load or is too old.
    """
    name = MODULES[flavour]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise MissingExtraError(name, EXTRAS[flavour], purpose) from error
    except (ImportError, OSError) as error:
        raise EngineError(
            f"{FLAVOURS[flavour]} is installed but does not load: {first_line(error)};"
            " to find what is missing: edgevision doctor"
        ) from error
    if not hasattr(module, "Builder"):  # a folder of that name, such as a package of stubs
        raise MissingExtraError(name, EXTRAS[flavour], purpose)
    version = str(module.__version__)
    return Library(flavour, version, dialect(flavour, version), module)


def is_installed(module: str) -> bool:
    """True if the Python module can be imported; a folder without code, such as a package of stubs, does not count."""
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None


def preferred_flavour() -> Flavour:
    """The installed flavour, TensorRT first; TensorRT if neither is installed, so that errors name it."""
    for flavour, name in MODULES.items():
        if is_installed(name):
            return flavour
    return "tensorrt"
