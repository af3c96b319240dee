"""Exports the encoder and the decoder of an autoencoder as graphs of their own, beside the generator's graph."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from edgevision.bundle.folder import Golden, Verification, write_bundle
from edgevision.contract.inputs import InputTensor, TensorInput, Tensors
from edgevision.contract.spec import FrameInput, ModelSpec, translate_outputs
from edgevision.errors import RecipeError
from edgevision.export.frames import golden_frames
from edgevision.export.generators.job import GeneratorJob
from edgevision.export.generators.network import Generator, network_check, raw_images
from edgevision.export.network import onnx_from_inputs
from edgevision.export.verify import Progress, verify_graph
from edgevision.graph.contract import attach_metadata, check_contract
from edgevision.graph.graft import generator_image, graft_generator, graft_part
from edgevision.graph.limits.check import require_named
from edgevision.graph.surgery import inferred_outputs
from edgevision.models.images import images_bgr

ENCODER, DECODER = "encoder", "decoder"


@dataclass(frozen=True, slots=True, eq=False)
class _Coder:
    """A graph with its spec, and PyTorch's answers for the golden inputs."""

    spec: ModelSpec
    network: onnx.ModelProto
    graph: onnx.ModelProto
    inputs: Tensors
    raw: torch.Tensor
    """The module's output."""
    golden: Golden


@contextlib.contextmanager
def exported_coders(
    job: GeneratorJob, golden: Golden, path: Path, progress: Progress
) -> Iterator[tuple[Path, ...]]:
    """Bundles of encoder and decoder in a temporary folder beside `path`; none for a source without them.

    Their golden images are the generator's and real photographs, their golden codes PyTorch's. Raises `RecipeError`,
    `GraphError`, `BundleError`, and `VerificationError` if a graph differs from PyTorch.
    """
    if job.source.encoder is None or job.source.decoder is None:
        yield ()
        return
    height, width = golden.answers[0].shape[1:3]
    photographs = golden_frames(None, FrameInput((width, height), "stretch"))
    images = Tensors((np.concatenate((golden.answers[0], photographs)),))
    encoder = _encoder(job, job.source.encoder, images)
    labels = np.arange(len(images), dtype=np.int32) % len(job.classes)
    decoder = _decoder(job, job.source.decoder, Tensors((encoder.golden.answers[0], labels)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.partial-", dir=path.parent) as name:
        folders = Path(name, ENCODER), Path(name, DECODER)
        for coder, folder in zip((encoder, decoder), folders, strict=True):
            _write(coder, job, folder, progress)
        yield folders


def _encoder(job: GeneratorJob, module: torch.nn.Module, images: Tensors) -> _Coder:
    encoder = Generator(module).eval()
    codes = raw_images(encoder, images)
    if codes.ndim != 2 or codes.dtype != torch.float32 or len(codes) != len(images):
        raise RecipeError(
            f"the encoder of {job.name} returns {codes.dtype} {list(codes.shape)} for {len(images)} images; expected"
            f" torch.float32 [{len(images)}, K]"
        )
    inputs = TensorInput((InputTensor("image", "image", images.arrays[0].shape[1:]),), job.batch)
    network = _network(encoder, inputs, images)
    graph, outputs = graft_part(network, inputs=inputs, outputs=("code",))
    spec = ModelSpec(f"{job.name}/{ENCODER}", "part", inputs, outputs, (), job.provenance)
    return _Coder(spec, network, graph, images, codes, Golden(images, (codes.numpy(),)))


def _decoder(job: GeneratorJob, module: torch.nn.Module, codes: Tensors) -> _Coder:
    decoder = Generator(module).eval()
    raw = raw_images(decoder, codes)
    code = InputTensor("code", "values", codes.arrays[0].shape[1:])
    inputs = TensorInput((code, InputTensor("label", "label", (), len(job.classes))), job.batch)
    network = _network(decoder, inputs, codes)
    outputs = translate_outputs(generator_image(inferred_outputs(network)))
    graph = graft_generator(network, image_pixels=job.pixels, inputs=inputs)
    spec = ModelSpec(f"{job.name}/{DECODER}", "part", inputs, outputs, job.classes, job.provenance)
    return _Coder(spec, network, graph, codes, raw, Golden(codes, (images_bgr(raw, job.pixels),)))


def _network(module: Generator, inputs: TensorInput, golden: Tensors) -> onnx.ModelProto:
    rows = golden[np.arange(inputs.batch.opt) % len(golden)]
    examples = {
        tensor.name: torch.from_numpy(array)
        for tensor, array in zip(inputs.tensors, rows.arrays, strict=True)
    }
    return onnx_from_inputs(module, examples, dynamic_batch=not inputs.batch.static)


def _write(coder: _Coder, job: GeneratorJob, folder: Path, progress: Progress) -> None:
    """Verify the graph and write its bundle."""
    attach_metadata(coder.graph, coder.spec)
    check_contract(coder.graph, coder.spec)
    require_named(coder.graph, job.tensorrt, f"the graph of {coder.spec.name}")
    check = network_check(coder.network, coder.inputs, coder.raw, job.batch.opt)
    record = verify_graph(coder.graph, coder.spec, coder.golden, (check,))
    progress(
        f"{folder.name}: {len(coder.graph.graph.node)} nodes, verified {len(coder.inputs)} images against PyTorch:"
        f" {_largest(record)}"
    )
    write_bundle(folder, coder.spec, coder.graph.SerializeToString(), coder.golden, (record,))


def _largest(record: Verification) -> str:
    """The largest measured difference of the output, in words."""
    found = {check.name: check.measured for check in record.checks}
    images = [value for name, value in found.items() if name.startswith("largest difference of an image")]
    if images:
        return f"largest difference {images[0]:.0f} of 255 levels"
    return f"largest relative difference {found['largest relative difference of output 1']:.2g}"
