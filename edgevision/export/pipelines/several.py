"""Exports a pipeline as several graphs: text encoders, one step of the denoiser, and the decoder."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from edgevision.bundle.folder import Bundle, CheckRecord, Golden, Verification, write_bundle
from edgevision.bundle.program import Program
from edgevision.contract.inputs import Tensors
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import ModelSpec, Precision
from edgevision.engines.opening import open_session
from edgevision.engines.programs.session import PartOpener, ProgramSession
from edgevision.errors import VerificationError
from edgevision.export.pipelines.module import PipelineModule
from edgevision.export.pipelines.parts import PartExport, export_part
from edgevision.export.pipelines.recording import DECODER, DENOISER, recorded_run
from edgevision.export.verify import Progress
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.images import images_bgr
from edgevision.storage.codec import json_text
from edgevision.verification.golden import verify_session

VERIFIED_BYTES = 2_000_000_000
"""Memory of graphs while they are verified, as far as the largest one allows."""
REFERENCE_TOLERANCE = 1e-3
"""Largest difference of an image in -1..1 from the image of diffusers' own pipeline."""


@dataclass(frozen=True, slots=True, eq=False)
class SeveralJob:
    """One export."""

    spec: ModelSpec
    """Of the whole run."""
    module: PipelineModule
    """Its weights are freed, one part after another."""
    golden: Tensors
    expected: torch.Tensor
    """Images of diffusers' own pipeline for the golden inputs, in -1..1."""
    pixels: PixelFormat
    tokenizers: tuple[str, ...]
    memory_bytes: int | None
    tensorrt: tuple[str, ...] = ()


def export_several(job: SeveralJob, path: Path, progress: Progress) -> Bundle:
    """Export and verify every part, then the run of all of them, and write the bundle at `path`.

    Raises `GraphError`, `BundleError`, and `VerificationError` if a part's outputs or the images differ.
    """
    image, parts = recorded_run(job.module, job.golden)
    check = reference_check(job.expected, image)
    progress(f"ran the pipeline in PyTorch: difference from diffusers {check.measured:.2g}")
    tokens = job.spec.tensors.of_kind("tokens")
    shared = PartExport(
        job.spec.name,
        job.spec.batch,
        job.spec.provenance,
        job.pixels,
        0 if tokens is None else tokens.limit,
        job.tensorrt,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.partial-", dir=path.parent) as name:
        folder = Path(name)
        graphs = {part: export_part(part, parts[part], shared, folder, progress) for part in list(parts)}
        sampler = job.module.sampler
        program = Program(
            tuple(graph for part, graph in graphs.items() if part not in (DENOISER, DECODER)),
            graphs[DENOISER],
            graphs[DECODER],
            sampler.first,
            sampler.steps,
            job.memory_bytes,
        )
        golden = Golden(job.golden, (images_bgr(image, job.pixels),))
        record = verified_run(job.spec, program, part_openers(folder, program), golden, "float")
        record = replace(record, checks=(check, *record.checks))
        if not record.passed:
            raise VerificationError(
                f"{job.spec.name} was not written: its graphs do not match the source model: {record.finding}"
            )
        progress(f"verified {len(job.golden)} images of all graphs")
        progress(f"float graphs: {planned(program)}")
        return write_bundle(
            path,
            job.spec,
            json_text(program).encode(),
            golden,
            (record,),
            tuple(text.encode() for text in job.tokenizers),
            parts=tuple(folder / part for part in graphs),
        )


def planned(program: Program) -> str:
    """The memory plan, with a warning if it exceeds the memory."""
    if program.fits:
        return program.plan
    return f"warning: do not fit the memory; {program.plan}"


def reference_check(expected: torch.Tensor, actual: torch.Tensor) -> CheckRecord:
    """Compare images in -1..1 with those of diffusers' own pipeline."""
    worst = float(np.abs(expected.numpy() - actual.clamp(-1, 1).numpy()).max())
    return CheckRecord(
        "largest difference of the PyTorch images from diffusers' pipeline",
        worst,
        "<=",
        REFERENCE_TOLERANCE,
        "network",
    )


def part_openers(folder: Path, program: Program) -> Mapping[str, PartOpener]:
    """Openers of the bundles of all graphs in `folder`, in ONNX Runtime."""
    return {
        graph.name: functools.partial(
            open_session,
            folder / graph.name,
            engine="onnxruntime",
            options=SessionOptions(precision=graph.precision),
        )
        for graph in program.graphs
    }


def verified_run(
    spec: ModelSpec,
    program: Program,
    openers: Mapping[str, PartOpener],
    golden: Golden,
    precision: Precision,
) -> Verification:
    """Run the program for the golden inputs; the graphs are loaded in turn if they are large."""
    limited = replace(program, memory_bytes=VERIFIED_BYTES)
    with ProgramSession(spec, limited, openers) as session:
        return replace(verify_session(session, golden, precision=precision), stage="export")
