"""Finds the program of a bundle whose graphs were all built by TensorRT."""

from __future__ import annotations

from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import Precision
from edgevision.engines.tensorrt.store import stored_engines

PREFERRED: tuple[Precision, ...] = ("int8", "fp16", "float")
"""In the order in which TensorRT selects them."""


def built_precision(bundle: Bundle, flavour: str) -> Precision | None:
    """The precision of the first program with a stored engine for each of its graphs; None if there is none."""
    held = {entry.precision for entry in bundle.manifest.graphs}
    for precision in PREFERRED:
        if precision in held and _is_built(bundle, precision, flavour):
            return precision
    return None


def _is_built(bundle: Bundle, precision: Precision, flavour: str) -> bool:
    for graph in bundle.program(precision).graphs:
        engines = stored_engines(bundle.path / graph.name).engines
        graphs = (engine.manifest.graph for engine in engines if engine.manifest.flavour == flavour)
        made = {file.sha256 for file in graphs if file is not None}
        if graph.sha256 not in made:
            return False
    return True
