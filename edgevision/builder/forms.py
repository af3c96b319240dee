"""Which ONNX file of a bundle a version of TensorRT reads."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from edgevision.bundle.folder import Bundle, GraphEntry
from edgevision.contract.embedded_spec import embedded_opset
from edgevision.engines.tensorrt.library import Library
from edgevision.errors import GraphError

OLD_OPSET = 17
"""The newest opset of TensorRT 8.6; its parser takes the bytes of FP16 scales for float32."""


def graph_file(bundle: Bundle, entry: GraphEntry, library: Library) -> Path:
    """The graph's file, or its form of opset 17 for TensorRT 8.6; raises `GraphError` where one is needed and missing.

    Strongly typed versions read the graph itself, whose types they follow.
    """
    path = bundle.graph_path(entry.precision)
    if library.dialect.strongly_typed or entry.precision != "int8":
        return path
    form = bundle.form_path(entry.precision, "opset17")
    if form is None and embedded_opset(path) > OLD_OPSET:
        raise GraphError(
            f"{library.name} reads INT8 up to opset {OLD_OPSET} with float32 scales; {path} has opset"
            f" {embedded_opset(path)} and FP16 scales, and no form for it lies beside it; make it again:"
            f" edgevision quantize {bundle.path} --target tensorrt, or build --precision fp16"
        )
    return form or path


def refuse_unread(path: Path, library: Library) -> None:
    """Raise `GraphError` that names what this version is documented not to read.

    Where the package onnx is not installed the library's own parser says it, in its own words.
    """
    if importlib.util.find_spec("onnx") is None:
        return
    from edgevision.graph.contract import load_model
    from edgevision.graph.limits.check import require_readable
    from edgevision.graph.limits.versions import limits_of

    require_readable(load_model(path), limits_of(library.flavour, library.version), path)
