"""Folds constants and removes redundant nodes of an exported bare network."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import onnx
import onnxslim

from edgevision.errors import GraphError


def simplify(network: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with constants folded and redundant nodes removed; raises `GraphError` if inputs or outputs change.

    For bare networks only: it would fold initializers that engines may replace into neighbouring nodes.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    logger = logging.getLogger("onnxslim")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # It prints each pass, and its warnings are useful only to its authors.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            slim = onnxslim.slim(copy)
    except Exception as error:  # it raises any error of its passes
        raise GraphError(f"the network cannot be simplified: {type(error).__name__}: {error}") from error
    finally:
        logger.setLevel(level)
    if not isinstance(slim, onnx.ModelProto) or _interface(slim) != _interface(network):
        raise GraphError("simplification changed the network's inputs or outputs")
    return slim


def _interface(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in stored]
    return inputs, [value.name for value in model.graph.output]
