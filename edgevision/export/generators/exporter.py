"""Exports a network that makes images to a verified bundle."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch

from edgevision.bundle.folder import Bundle, Golden, Verification, write_bundle
from edgevision.contract.inputs import TensorInput, sample_tensors
from edgevision.contract.spec import ModelSpec, translate_outputs
from edgevision.errors import GraphError, RecipeError, VerificationError
from edgevision.export.generators.coders import exported_coders
from edgevision.export.generators.job import GeneratorJob
from edgevision.export.generators.network import (
    SEED,
    Generator,
    check_generator,
    generator_inputs,
    golden_tensors,
    network_check,
    raw_images,
    share_outside,
)
from edgevision.export.modules.branches import branch_hint
from edgevision.export.network import onnx_from_inputs
from edgevision.export.verify import Progress, verify_graph
from edgevision.graph.contract import attach_metadata, check_contract
from edgevision.graph.graft import generator_image, graft_generator
from edgevision.graph.limits.check import require_named
from edgevision.graph.surgery import graph_inputs, inferred_outputs
from edgevision.models.images import images_bgr

MUCH_OUTSIDE = 0.05
"""Share of cut values from which a remark is printed."""


def export_generator(job: GeneratorJob, path: Path, progress: Progress) -> Bundle:
    """Export, verify for fixed noises against PyTorch, and write the bundle at `path`.

    Raises `RecipeError`, `GraphError`, `BundleError`, and `VerificationError` if the graph's images differ.
    """
    generator = Generator(job.source.module).eval()
    inputs = generator_inputs(job.source, job.name, job.batch)
    progress(f"read {job.source.variant}")
    check_generator(generator, job.name, inputs)
    network = _network(generator, job.name, inputs)
    progress(f"exported to ONNX, {len(network.graph.node)} nodes")
    graph = graft_generator(network, image_pixels=job.pixels, inputs=inputs)
    spec = ModelSpec(
        name=job.name,
        task="generate",
        input=inputs,
        outputs=translate_outputs(generator_image(inferred_outputs(network))),
        classes=job.classes,
        provenance=job.provenance,
    )
    attach_metadata(graph, spec)
    check_contract(graph, spec)
    progress(f"added the contract, {len(graph.graph.node)} nodes")
    require_named(graph, job.tensorrt, f"the graph of {job.name}")
    tensors = job.golden or golden_tensors(job.source, inputs)
    raw = raw_images(generator, tensors)
    outside = share_outside(raw, job.pixels)
    if outside > MUCH_OUTSIDE:
        progress(
            f"{outside:.0%} of the values are outside of black to white in the stated pixel format, and are cut; if the"
            " network is trained, check image_pixels"
        )
    golden = Golden(tensors, (images_bgr(raw, job.pixels),))
    further = (*job.checks, network_check(network, tensors, raw, job.batch.opt))
    try:
        verification = verify_graph(graph, spec, golden, further)
    except VerificationError as error:
        example = (torch.from_numpy(array[:1]) for array in tensors.arrays)
        raise VerificationError(f"{error}{branch_hint(generator, *example)}") from error
    progress(f"verified {len(tensors)} images against PyTorch: {_differences(verification)}")
    tokenizers = tuple(text.encode() for text in job.tokenizers)
    with exported_coders(job, golden, path, progress) as coders:
        return write_bundle(
            path, spec, graph.SerializeToString(), golden, (verification,), tokenizers, coders=coders
        )


def _network(generator: Generator, name: str, inputs: TensorInput) -> onnx.ModelProto:
    batch = inputs.batch
    arrays = sample_tensors(inputs, SEED, batch.opt).arrays
    examples = {
        tensor.name: torch.from_numpy(array) for tensor, array in zip(inputs.tensors, arrays, strict=True)
    }
    try:
        network = onnx_from_inputs(generator, examples, dynamic_batch=not batch.static)
    except GraphError as error:
        raise GraphError(f"{name}: {error}") from error
    found = {value.name for value in graph_inputs(network.graph)}
    unused = [tensor.name for tensor in inputs.tensors if tensor.name not in found]
    if unused:
        raise RecipeError(
            f"{name}: the images do not depend on the input {' and '.join(unused)}; "
            + (
                "remove classes from the recipe"
                if unused == ["label"]
                else "expected a network that uses its noise"
            )
        )
    return network


def _differences(verification: Verification) -> str:
    """The measured differences of the images, in words."""
    found = {
        check.name.split(" ")[0]: check.measured for check in verification.checks if check.tensor == "image"
    }
    return f"largest difference {found['largest']:.0f} of 255 levels, mean {found['mean']:.4f}"
