"""Runs a new engine on the golden frames if this machine can; else records that it did not run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgevision.benchmark.timing import MeasureSettings, measure
from edgevision.builder.inspect import delivered, engine_layers
from edgevision.builder.work import engine_shares, short_of
from edgevision.bundle.folder import Bundle, Golden
from edgevision.contract.session import Session, SessionOptions
from edgevision.device.gpu import GpuFacts, gpu_facts, sm_text
from edgevision.engines.tensorrt.manifest import EngineManifest, EngineSpeed, LayerCount, WorkShare
from edgevision.engines.tensorrt.session import TensorRtSession, open_engine
from edgevision.engines.tensorrt.store import StoredEngine
from edgevision.errors import EngineError, MissingExtraError, VerificationError
from edgevision.verification.golden import verify_session

SPEED = MeasureSettings(min_s=0.5, min_count=30, warmup_s=0.3, warmup_count=10)
"""One second, compared with minutes of building; enough to distinguish engines of one model."""


def verify_engine(bundle: Bundle, engine: StoredEngine, gpu: GpuFacts | None) -> EngineManifest:
    """Run a new engine if this machine has its GPU; returns its manifest with the results.

    Raises `VerificationError` if it does not match the source model, `EngineError` if it cannot be opened or no layer
    computes in the graph's precision.
    """
    manifest = engine.manifest
    if gpu is None or gpu.sm != manifest.sm:
        return replace(manifest, not_run=f"the building machine has no GPU of {sm_text(manifest.sm)}")
    try:
        session = _open(bundle, engine)
    except MissingExtraError as error:
        return replace(manifest, not_run=str(error))
    with session:
        inspected = session.inspector_json()
        layers, shares = _understood(inspected, manifest)
        short = short_of(shares, manifest.work, manifest.precision)
        if short is not None:
            raise EngineError(
                f"the {manifest.precision} engine of {bundle.path} was not kept: {short}; build it with --precision"
                " float, or quantize the graph again"
            )
        if not delivered(layers, manifest.precision):
            raise EngineError(
                f"expected an engine that computes in {manifest.precision}; it computes only in"
                f" {', '.join(sorted({count.precision for count in layers}))}; build it with --precision float, or"
                " quantize the graph again"
            )
        golden = bundle.golden()
        record = verify_session(session, golden, precision=manifest.precision)
        speed = measured_speed(session, golden) if record.passed else None
    if not record.passed:
        raise VerificationError(
            f"the {manifest.precision} engine of {bundle.path} was not kept: it does not match the source model:"
            f" {record.finding}"
        )
    return replace(
        manifest, verification=record, engine_layers=layers, work_shares=shares, not_run=None, speed=speed
    )


def verify_here(bundle: Bundle, engine: StoredEngine) -> EngineManifest:
    """`verify_engine` on this machine's GPU."""
    return verify_engine(bundle, engine, gpu_facts())


def measured_speed(session: Session, golden: Golden) -> EngineSpeed:
    """Measure calls of the usual batch on golden frames, after a warm-up."""
    size = session.spec.batch.opt
    batch = golden.inputs[np.arange(size) % len(golden.inputs)]
    samples = measure(lambda: session.infer(batch), SPEED)
    return EngineSpeed(size, round(samples.percentile_ms(50), 4), len(samples))


def _understood(
    inspected: str, manifest: EngineManifest
) -> tuple[tuple[LayerCount, ...], tuple[WorkShare, ...]]:
    try:
        return engine_layers(inspected), engine_shares(inspected, manifest.work)
    except ValueError as error:
        raise EngineError(
            f"cannot parse the output of the engine's inspector: {error}; please report its version"
        ) from error


def _open(bundle: Bundle, engine: StoredEngine) -> TensorRtSession:
    return open_engine(engine, bundle.spec, SessionOptions())
