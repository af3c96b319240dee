"""The one place where TensorRT is imported: either flavour, of any version that the table knows."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from edgevision.engines.tensorrt.versions import FLAVOURS, MODULES, Dialect, Flavour, dialect
from edgevision.errors import EngineError, MissingExtraError, first_line

EXTRAS: dict[Flavour, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt-rtx"}
"""The extra of this package that installs each."""


@dataclass(frozen=True, slots=True)
class Library:
    """A flavour of TensorRT that is installed here; what it makes has the types of its stubs."""

    flavour: Flavour
    version: str
    dialect: Dialect
    module: Any

    @property
    def name(self) -> str:
        """As people say it: "TensorRT 10.3.0"."""
        return f"{FLAVOURS[self.flavour]} {self.version}"

    def member(self, enum: str, name: str) -> Any:
        """A member of one of the module's enums by its name in the table."""
        return getattr(getattr(self.module, enum), name)


def load_library(flavour: Flavour, purpose: str) -> Library:
    """Import it; raises `MissingExtraError` if it is absent, `EngineError` if it does not load or is too old."""
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
            " `edgevision doctor` says what is missing"
        ) from error
    if not hasattr(module, "Builder"):  # a folder of that name, such as one of stubs alone
        raise MissingExtraError(name, EXTRAS[flavour], purpose)
    version = str(module.__version__)
    return Library(flavour, version, dialect(flavour, version), module)


def is_installed(module: str) -> bool:
    """True if that module of Python could be imported; a folder without code, such as one of stubs, is none."""
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None


def preferred_flavour() -> Flavour:
    """The flavour that is installed, TensorRT first; TensorRT if neither is, so that it is the one asked for."""
    for flavour, name in MODULES.items():
        if is_installed(name):
            return flavour
    return "tensorrt"
