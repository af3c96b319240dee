"""Opens a session: selects engine and graph, and verifies the golden frames on a new class of machine."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edgevision.bundle.folder import Bundle
from edgevision.bundle.selection import MachineIdentity, choose_graph
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import ModelSpec
from edgevision.device.facts import machine_name
from edgevision.device.machine_class import machine_class
from edgevision.errors import EngineError, MissingExtraError, UsageError
from edgevision.verification.first_opening import verify_first_opening, with_cached_records

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """An engine's module, the function that opens a session, and the package that it imports."""

    module: str
    opener: str
    takes: Literal["graph", "bundle"]
    package: str
    extra: str
    by_itself: bool = True
    """True: eligible when the user names no engine. The others must be requested by name."""


_ENGINES = {
    "onnxruntime": EngineEntry("onnxruntime", "open_graph", "graph", "onnxruntime", "cpu"),
    "openvino": EngineEntry("openvino", "open_graph", "graph", "openvino", "openvino"),
    "tensorrt": EngineEntry("tensorrt.session", "open_tensorrt", "bundle", "cuda", "tensorrt"),
    "tensorrt-rtx": EngineEntry("tensorrt.session", "open_tensorrt_rtx", "bundle", "cuda", "tensorrt-rtx"),
    "onnxruntime-cuda": EngineEntry(
        "onnxruntime", "open_graph_on_cuda", "graph", "onnxruntime", "gpu", False
    ),
    "onnxruntime-tensorrt": EngineEntry(
        "onnxruntime", "open_graph_on_tensorrt", "graph", "onnxruntime", "gpu", False
    ),
}

ENGINES = tuple(_ENGINES)
"""Engines in the order of preference of `open_session`; ``onnxruntime-*`` must be requested by name."""
CPU_ENGINES = ("onnxruntime", "openvino")
"""Engines that run any bundle's graph on any machine."""


def open_session(
    model: Path | str, *, engine: str | None = None, options: SessionOptions | None = None
) -> Session:
    """Open a bundle, or a bare ``.onnx`` file that carries its spec, with an engine.

    `engine` is one of `ENGINES`; the default is the first that is installed. Raises `BundleError` or `GraphError` for a
    bad model, `MissingExtraError` if the engine is not installed, `EngineError` if it cannot run the graph.
    """
    if engine is not None and engine not in ENGINES:
        raise UsageError(f"unknown engine {engine!r}; engines: {', '.join(ENGINES)}")
    path = Path(model)
    bundle = None if path.suffix == ".onnx" else Bundle.open(path)
    for name, home in _ENGINES.items():
        if engine == name:
            return _open(name, home, bundle, path, options or SessionOptions())
        if engine is None and home.by_itself:
            with contextlib.suppress(MissingExtraError):
                return _open(name, home, bundle, path, options or SessionOptions())
    raise EngineError(f"no engine is installed ({', '.join(ENGINES)}): pip install 'edgevision[cpu]'")


def _open(
    name: str, home: EngineEntry, bundle: Bundle | None, path: Path, options: SessionOptions
) -> Session:
    try:
        module = importlib.import_module(f"edgevision.engines.{home.module}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != home.package:
            raise
        package = "cuda-bindings" if home.package == "cuda" else home.package
        raise MissingExtraError(package, home.extra, f"engine {home.module}") from error
    opener = getattr(module, home.opener)
    session: Session
    if home.takes == "graph":
        session = (
            opener(path, None, options) if bundle is None else _open_chosen(opener, bundle, name, options)
        )
    elif bundle is None:
        raise UsageError(
            f"{home.module} runs engines built for this device; received {path}. Build an engine with `edgevision"
            f" build BUNDLE`, then open the bundle"
        )
    else:
        session = opener(bundle, options)
    if bundle is not None and bundle.operating_point is not None:
        session.threshold = bundle.operating_point.thresholds(bundle.spec.classes)
        LOG.info("%s: confidence thresholds of the bundle: %s", bundle.spec.name, f"{session.threshold:.2f}")
    return session


def _open_chosen(
    opener: Callable[[Path, ModelSpec | None, SessionOptions], Session],
    bundle: Bundle,
    engine: str,
    options: SessionOptions,
) -> Session:
    """Open the graph that the bundle's records select, and log the choice."""
    bundle = with_cached_records(bundle)
    # `machine_name` calls system tools, which is slow; it is needed only if speeds were recorded.
    name = machine_name() if any(entry.speeds for entry in bundle.manifest.graphs) else ""
    machine = MachineIdentity(name, machine_class(engine))
    ask = functools.partial(
        choose_graph, engine=engine, machine=machine, precision=options.precision, force=options.force
    )
    while not (choice := ask(bundle)).verified:
        # Use the graph's own thresholds, which produced the golden answers.
        plain = replace(options, iou_threshold=None, score_floor=None, precision=choice.precision)
        with opener(bundle.graph_path(choice.precision), bundle.spec, plain) as trial:
            record = verify_first_opening(trial, bundle, choice.precision)
        bundle = bundle.with_record(choice.precision, record)  # the next choice is then a verified one
    # Settings of some engines depend on the precision.
    chosen = replace(options, precision=choice.precision)
    session = opener(bundle.graph_path(choice.precision), bundle.spec, chosen)
    session.precision = choice.precision
    if len(bundle.manifest.graphs) > 1 or options.force:
        note = f"{choice.precision} graph: {choice.reason}"
        session.info = replace(session.info, notes=(note, *session.info.notes))
        LOG.info("%s in %s: %s", bundle.spec.name, engine, note)
    return session
