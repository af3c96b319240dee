"""Folding and merging what an exporter left in a bare network."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import onnx
import onnxslim

from edgevision.errors import GraphError


def simplify(network: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with constants folded and needless nodes gone; raises `GraphError` if inputs or outputs change.

    For bare networks only: it would fold the initializers that engines may replace into their neighbours.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    logger = logging.getLogger("onnxslim")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # It reports each pass to the screen, and what it warns of is of use to its authors only.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            slim = onnxslim.slim(copy)
    except Exception as error:  # it raises whatever its passes meet
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
