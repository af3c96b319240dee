"""Selects the ONNX file of a bundle for a version of TensorRT."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from edgevision.bundle.folder import Bundle, GraphEntry
from edgevision.contract.embedded_spec import embedded_opset
from edgevision.engines.tensorrt.library import Library
from edgevision.errors import GraphError

OLD_OPSET = 17
"""The newest opset of TensorRT 8.6, whose parser misreads the bytes of FP16 scales as float32."""


def graph_file(bundle: Bundle, entry: GraphEntry, library: Library) -> Path:
    """The graph's file, or its form of opset 17 for TensorRT 8.6; raises `GraphError` if that form is missing.

    Strongly typed versions read the graph itself and follow its types.
    """
    path = bundle.graph_path(entry.precision)
    if library.dialect.strongly_typed or entry.precision != "int8":
        return path
    form = bundle.form_path(entry.precision, "opset17")
    if form is None and embedded_opset(path) > OLD_OPSET:
        raise GraphError(
            f"{library.name} supports INT8 up to opset {OLD_OPSET} with float32 scales; {path} has opset"
            f" {embedded_opset(path)} and FP16 scales, and no compatible form; create it:"
            f" edgevision quantize {bundle.path} --target tensorrt, or build --precision fp16"
        )
    return form or path


def refuse_unread(path: Path, library: Library) -> None:
    """Raise `GraphError` that names documented unsupported parts of the graph.

    Without the package onnx, the library's own parser reports them.
    """
    if importlib.util.find_spec("onnx") is None:
        return
    from edgevision.graph.contract import load_model
    from edgevision.graph.limits.check import require_readable
    from edgevision.graph.limits.versions import limits_of

    require_readable(load_model(path, external=False), limits_of(library.flavour, library.version), path)
