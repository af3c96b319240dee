"""Exports one part of a pipeline to a bundle of its own, with weights of any size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch

from edgevision.bundle.entries import data_name, graph_file_name
from edgevision.bundle.folder import Bundle, Golden, Verification, write_bundle
from edgevision.bundle.program import ProgramGraph, size_text
from edgevision.contract.inputs import BatchRange, InputTensor, TensorInput, Tensors
from edgevision.contract.spec import ModelSpec, Provenance, TensorSpec, translate_outputs
from edgevision.engines.opening import open_session
from edgevision.errors import VerificationError
from edgevision.export.network import onnx_from_inputs
from edgevision.export.pipelines.activations import activation_bytes
from edgevision.export.pipelines.recording import RecordedPart
from edgevision.export.pipelines.weights import Arrays, with_folded_layouts, with_weights
from edgevision.export.verify import Progress
from edgevision.graph.contract import attach_metadata, check_graph, check_interface
from edgevision.graph.graft import generator_image, graft_generator, graft_part
from edgevision.graph.limits.check import require_named
from edgevision.graph.preprocess import PixelFormat
from edgevision.graph.surgery import inferred_outputs
from edgevision.models.images import images_bgr
from edgevision.verification.golden import verify_session

MOST_INSIDE = 256 << 20
"""Bytes of weights from which they are in a file beside the graph."""
_TIMES = ("/time_proj/", "/add_time_proj/")
"""Parts of names of nodes that compute a time's sines and cosines: FP16 has steps of 0.5 at time 999."""


@dataclass(frozen=True, slots=True)
class PartExport:
    """What the parts of one pipeline share."""

    name: str
    batch: BatchRange
    provenance: Provenance
    pixels: PixelFormat
    """Of the decoder's images."""
    token_limit: int
    tensorrt: tuple[str, ...] = ()


def export_part(
    name: str, part: RecordedPart, job: PartExport, folder: Path, progress: Progress
) -> ProgramGraph:
    """Export, verify against the part's recorded run, and write the bundle ``folder/name``.

    The module is moved to the device "meta" as soon as its weights are written, which frees them. Raises `GraphError`,
    `BundleError`, and `VerificationError` if the outputs differ.
    """
    inputs = _inputs(part, job)
    network, weights = _network(part.module, inputs, len(part.outputs))
    spec, graph, golden = _contract(name, part, job, network, inputs)
    activations = activation_bytes(graph, job.batch.max)
    size = sum(array.nbytes for array in weights.values())
    folder.mkdir(exist_ok=True)
    file = folder / graph_file_name("float")
    data = folder / data_name(file.name) if size > MOST_INSIDE else None
    model = with_weights(graph, weights, data)
    require_named(model, job.tensorrt, f"the graph {name}")
    check_interface(model, spec)
    content = model.SerializeToString()
    del model, weights
    part.module.to("meta")
    file.write_bytes(content)
    record = _verified(file, spec, golden)
    progress(
        f"{name}: {len(graph.graph.node)} nodes, {size_text(size)} of weights"
        f"{'' if data is None else ' in a file of their own'}, verified {len(golden.inputs)} runs:"
        f" {differences(record)}"
    )
    bundle = write_bundle(folder / name, spec, content, golden, (record,), data=data)
    return program_graph(bundle, activations)


def program_graph(bundle: Bundle, activations: int, precision: str = "float") -> ProgramGraph:
    """The entry of a part's graph in a program."""
    entry = next(one for one in bundle.manifest.graphs if one.precision == precision)
    return ProgramGraph(bundle.path.name, entry.precision, entry.file.sha256, entry.size_bytes, activations)


def differences(record: Verification) -> str:
    """The largest measured difference of a part's outputs, in words."""
    images = [
        check.measured for check in record.checks if check.name.startswith("largest difference of an image")
    ]
    if images:
        return f"largest difference {images[0]:.0f} of 255 levels"
    found = [check.measured for check in record.checks if check.name.startswith("largest relative")]
    return f"largest relative difference {max(found):.2g}"


def _inputs(part: RecordedPart, job: PartExport) -> TensorInput:
    assert isinstance(part.golden.inputs, Tensors), "parts take tensors"
    tensors = [
        InputTensor(name, "tokens", array.shape[1:], job.token_limit)
        if array.dtype == np.int32
        else InputTensor(name, "values", array.shape[1:])
        for name, array in zip(part.inputs, part.golden.inputs.arrays, strict=True)
    ]
    return TensorInput(tuple(tensors), job.batch)


class _WithIntegers(torch.nn.Module):
    """A part whose tokens are int32."""

    def __init__(self, part: torch.nn.Module) -> None:
        super().__init__()
        self.part = part

    def _get_name(self) -> str:
        """The part's name, for messages."""
        return type(self.part).__name__

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...] | torch.Tensor:
        """The part's outputs."""
        given = (one if one.is_floating_point() else one.long() for one in inputs)
        found: tuple[torch.Tensor, ...] | torch.Tensor = self.part(*given)
        return found


def _network(module: torch.nn.Module, inputs: TensorInput, outputs: int) -> tuple[onnx.ModelProto, Arrays]:
    """The network with its weights as inputs, and the weights, in the memory of the module."""
    wrapped = _WithIntegers(module).eval()
    rows = inputs.batch.opt
    examples = {
        tensor.name: torch.zeros(rows, *tensor.shape, dtype=getattr(torch, tensor.dtype))
        for tensor in inputs.tensors
    }
    network = onnx_from_inputs(
        wrapped, examples, dynamic_batch=not inputs.batch.static, weights_as_inputs=True
    )
    assert len(network.graph.output) == outputs, "the part's outputs were recorded"
    held = {**dict(wrapped.named_parameters()), **dict(wrapped.named_buffers())}
    names = {value.name for value in network.graph.input}
    weights = {name: tensor.detach().numpy() for name, tensor in held.items() if name in names}
    return with_folded_layouts(network, weights)


def _contract(
    name: str, part: RecordedPart, job: PartExport, network: onnx.ModelProto, inputs: TensorInput
) -> tuple[ModelSpec, onnx.ModelProto, Golden]:
    """Spec, graph with the weights as inputs, and golden outputs; images in levels."""
    golden = part.golden
    outputs: tuple[TensorSpec, ...]
    if part.outputs == ("image",):
        outputs = translate_outputs(generator_image(inferred_outputs(network)))
        graph = graft_generator(network, image_pixels=job.pixels, inputs=inputs, weights_as_inputs=True)
        golden = replace(golden, answers=(images_bgr(torch.from_numpy(golden.answers[0]), job.pixels),))
    else:
        graph, outputs = graft_part(network, inputs=inputs, outputs=part.outputs)
    for node in graph.graph.node:
        if any(text in node.name for text in _TIMES):
            node.name = f"pre{node.name}"
    spec = ModelSpec(f"{job.name}/{name}", "part", inputs, outputs, (), job.provenance)
    attach_metadata(graph, spec)
    check_graph(graph)
    return spec, graph, golden


def _verified(file: Path, spec: ModelSpec, golden: Golden) -> Verification:
    with open_session(file, engine="onnxruntime") as session:
        record = replace(verify_session(session, golden), stage="export")
    if not record.passed:
        raise VerificationError(
            f"{spec.name} was not written: its graph does not match the source model: {record.finding}"
        )
    return record
