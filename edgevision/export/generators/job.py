"""One export of a network that makes images."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.bundle.folder import CheckRecord
from edgevision.contract.inputs import BatchRange, Tensors
from edgevision.contract.spec import Provenance
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import SourceModel


@dataclass(frozen=True, slots=True)
class GeneratorJob:
    """One export: the source model, and how the bundle describes it."""

    name: str
    source: SourceModel
    classes: tuple[str, ...]
    pixels: PixelFormat
    """Of the network's images."""
    batch: BatchRange
    provenance: Provenance
    tensorrt: tuple[str, ...] = ()
    """TensorRT versions, as `graph.limits` names them, that must be able to read the graph."""
    golden: Tensors | None = None
    """Inputs of the golden images; None: those of the first images of a fixed seed."""
    checks: tuple[CheckRecord, ...] = ()
    """Further measured differences, of the PyTorch module."""
    tokenizers: tuple[str, ...] = ()
    """Of a model that takes tokens: each as JSON in the format of the library tokenizers."""
