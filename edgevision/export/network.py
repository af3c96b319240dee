"""Exports a PyTorch network to a bare ONNX graph: float tensors in, raw maps or logits out."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from edgevision.engines.ort_settings import cpu_session
from edgevision.errors import GraphError, first_line
from edgevision.export.modules.branches import branch_hint
from edgevision.export.modules.outputs import module_outputs, output_name
from edgevision.graph.builder import OPSET
from edgevision.graph.simplify import simplify

INPUT = "network_input"


def onnx_from_module(
    module: torch.nn.Module, size_wh: tuple[int, int], batch: int, *, dynamic_batch: bool
) -> onnx.ModelProto:
    """Export `module` (eval mode, float32 ``[B,3,H,W]`` in) and simplify the graph.

    Uses the TorchScript exporter, which writes opset 17, the newest that TensorRT 8.6 supports. The dynamo exporter
    starts at 18 and converts down. Both give the same results on the models here: docs/export.md has the comparison.
    Raises `GraphError` with the exporter's reason.
    """
    example = torch.zeros(batch, 3, size_wh[1], size_wh[0])
    return onnx_from_inputs(module, {INPUT: example}, dynamic_batch=dynamic_batch)


def onnx_from_inputs(
    module: torch.nn.Module,
    examples: Mapping[str, torch.Tensor],
    *,
    dynamic_batch: bool,
    weights_as_inputs: bool = False,
) -> onnx.ModelProto:
    """`onnx_from_module` for a module with any inputs, by name and in its order.

    With `weights_as_inputs` the graph contains no weights. They are further inputs, with the names of the module's
    parameters and buffers.
    """
    inputs, example = list(examples), tuple(examples.values())
    outputs = [output_name(place) for place in range(len(module_outputs(module, *example)))]
    dynamic_axes = {name: {0: "batch"} for name in (*inputs, *outputs)} if dynamic_batch else None
    buffer = io.BytesIO()
    try:
        with torch.no_grad(), _quiet():
            torch.onnx.export(
                module,
                example,
                buffer,  # type: ignore[arg-type]  # a file object is accepted; the annotation is incomplete
                input_names=inputs,
                output_names=outputs,
                opset_version=OPSET,
                dynamic_axes=dynamic_axes,
                export_params=not weights_as_inputs,
                do_constant_folding=not weights_as_inputs,  # folded weights would have no names
                dynamo=False,
            )
        return simplify(onnx.load_model_from_string(buffer.getvalue()))
    except GraphError:
        raise
    except Exception as error:  # the exporter raises any error of its tracing
        name = module._get_name()  # type: ignore[no-untyped-call]  # torch's own
        raise GraphError(
            f"PyTorch cannot export {name} to ONNX opset {OPSET}: {first_line(error)}{branch_hint(module, *example)}"
        ) from error


def run_network(network: onnx.ModelProto, *arrays: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]:
    """The bare network's outputs in ONNX Runtime, for a comparison with PyTorch's."""
    session = cpu_session(network.SerializeToString())
    named = {given.name: array for given, array in zip(session.get_inputs(), arrays, strict=True)}
    outputs: list[npt.NDArray[np.float32]] = session.run(None, named)
    return outputs


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's deprecation warnings, which do not concern the user."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
