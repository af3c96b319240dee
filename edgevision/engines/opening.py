"""Opens a session: selects engine and graph, and verifies the golden frames on a new class of machine."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edgevision.bundle.folder import Bundle
from edgevision.bundle.operating_point import LOST
from edgevision.bundle.program import ProgramGraph
from edgevision.bundle.selection import MachineIdentity, choose_graph
from edgevision.contract.embedded_spec import embedded_spec
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import COMPUTED, ModelSpec, graph_name
from edgevision.device.facts import machine_name
from edgevision.device.gpu import gpu_names
from edgevision.device.machine_class import machine_class
from edgevision.device.names import DeviceKind, DeviceName, device_named, gpu_index_of
from edgevision.engines.choices import stored_comparison
from edgevision.engines.devices import find_device
from edgevision.engines.fastest import is_verified, select_fastest
from edgevision.engines.precisions import computing_engine
from edgevision.engines.programs.built import built_precision
from edgevision.engines.programs.session import ProgramSession
from edgevision.errors import (
    EdgevisionError,
    EngineError,
    MissingExtraError,
    UsageError,
    VerificationError,
)
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
    devices: tuple[DeviceKind, ...]
    by_itself: bool = True
    """True: eligible when the user names no engine. The others must be requested by name."""


_ENGINES = {
    "onnxruntime": EngineEntry("onnxruntime", "open_graph", "graph", "onnxruntime", "cpu", ("cpu",)),
    "openvino": EngineEntry("openvino", "open_graph", "graph", "openvino", "openvino", ("cpu",)),
    "tensorrt": EngineEntry(
        "tensorrt.session", "open_tensorrt", "bundle", "tensorrt", "tensorrt", ("cuda", "dla")
    ),
    "tensorrt-rtx": EngineEntry(
        "tensorrt.session", "open_tensorrt_rtx", "bundle", "tensorrt_rtx", "tensorrt-rtx", ("cuda",)
    ),
    "onnxruntime-cuda": EngineEntry(
        "onnxruntime", "open_graph_on_cuda", "graph", "onnxruntime", "gpu", ("cuda",), False
    ),
    "onnxruntime-tensorrt": EngineEntry(
        "onnxruntime", "open_graph_on_tensorrt", "graph", "onnxruntime", "gpu", ("cuda",), False
    ),
}

ENGINES = tuple(_ENGINES)
"""Engines in the order of preference of `open_session`; ``onnxruntime-*`` must be requested by name."""
CPU_ENGINES = ("onnxruntime", "openvino")
"""Engines that run any bundle's graph on any machine."""
COMPILING = "onnxruntime-tensorrt"
"""Its first opening builds engines for minutes, so only a user who names it gets it."""


def open_session(
    model: Path | str, *, engine: str | None = None, options: SessionOptions | None = None
) -> Session:
    """Open a bundle, or a bare ``.onnx`` file that carries its spec, with an engine.

    `engine` is one of `ENGINES`. By default engine and graph are the fastest of a comparison on this machine
    (`benchmark.comparison`), else the first engine that is installed and verified. `Session.selection` gives the
    reason. Raises `BundleError` or `GraphError` for a bad model, `MissingExtraError` if the engine is not installed,
    `EngineError` if it cannot run the graph.
    """
    if engine is not None and engine not in ENGINES:
        raise UsageError(f"unknown engine {engine!r}; engines: {', '.join(ENGINES)}")
    path, options = Path(model), options or SessionOptions()
    bundle = None if path.suffix == ".onnx" else with_cached_records(Bundle.open(path))
    session = _open_selected(bundle, path, engine, options)
    if bundle is not None and bundle.manifest.coders:
        session.coders = coder_openers(bundle, engine, options)
    return session


def _open_selected(bundle: Bundle | None, path: Path, engine: str | None, options: SessionOptions) -> Session:
    """Open with the requested engine, else with the fastest known one."""
    if options.precision in COMPUTED:
        engine = computing_engine(engine, options.precision)
    if bundle is None and options.precision not in (None, "float", *COMPUTED):
        raise UsageError(
            f"{path} is one graph; --precision {options.precision} selects a graph of a bundle: pass the bundle, or"
            " omit it"
        )
    device = find_device(options.device)
    if device is not None and engine is not None:
        _refuse_other_device(device, engine)
    if bundle is not None and (engine is None or options.precision is None):
        comparison = stored_comparison(bundle, options.threads, str(device) if device else None)
        selected = select_fastest(comparison, bundle, engine, options) if comparison else None
        if selected is not None and selected.timing.engine in _ENGINES:  # the file may be damaged
            wanted = replace(options, precision=selected.timing.precision)
            session = _open(selected.timing.engine, bundle, path, wanted, "selected by a comparison here")
            session.selection = selected.reason
            return session
    if engine is not None:
        session = _open(engine, bundle, path, options)
        session.selection = _described(session, "as requested")
        return session
    return _open_first(bundle, path, options)


def coder_openers(
    bundle: Bundle, engine: str | None, options: SessionOptions
) -> dict[str, Callable[[], Session]]:
    """Openers of an autoencoder's ``encoder`` and ``decoder``, each as `open_session`; empty for other models."""

    def open_coder(name: str) -> Session:
        return open_session(bundle.coder(name).path, engine=engine, options=options)

    return {entry.name: functools.partial(open_coder, entry.name) for entry in bundle.manifest.coders}


def _open_first(bundle: Bundle | None, path: Path, options: SessionOptions) -> Session:
    """The first engine that is installed; engines whose float graph was verified here come first."""
    device = device_named(options.device)
    names = (
        [name for name, home in _ENGINES.items() if home.by_itself] if device is None else _engines_on(device)
    )
    if bundle is not None:
        names.sort(key=lambda name: not is_verified(bundle, name))
    elif device is not None:
        names = [name for name in names if _ENGINES[name].takes == "graph"]
    failure: EdgevisionError | None = None
    for name in names:
        try:
            session = _open(name, bundle, path, options)
        except MissingExtraError:
            continue
        except VerificationError as error:
            failure = failure or error
            continue
        except EngineError as error:
            if device is None and failure is None:
                raise
            failure = failure or error
            continue
        if bundle is None:
            reason = "first installed engine"
        else:
            first = "verified" if is_verified(bundle, name) else "installed"
            reason = f"first {first} engine; `edgevision bench {path}` measures and stores the fastest"
        session.selection = _described(session, reason)
        return session
    if failure is not None:
        raise failure
    extra = "cpu" if device is None or device.kind == "cpu" else "gpu"
    where = "" if device is None else f" for {device}"
    raise EngineError(
        f"no engine{where} is installed ({', '.join(names)}): pip install 'edgevision[{extra}]'"
    )


def compared_engines(device: DeviceName | None) -> tuple[str, ...]:
    """The engines to compare, in the order of preference; GPUs count only if this machine has one."""
    if device is not None:
        return tuple(_engines_on(device))
    return tuple(name for name in ENGINES if name != COMPILING) if gpu_names() else CPU_ENGINES


def device_of(engine: str, device: DeviceName | None) -> DeviceName:
    """The device that an engine runs on if `device` is requested."""
    return device or DeviceName(_ENGINES[engine].devices[0])


def _engines_on(device: DeviceName) -> list[str]:
    return [name for name, home in _ENGINES.items() if device.kind in home.devices and name != COMPILING]


def _refuse_other_device(device: DeviceName, engine: str) -> None:
    """Raise `UsageError` if the engine does not run on the device."""
    if device.kind not in _ENGINES[engine].devices:
        fitting = [name for name, home in _ENGINES.items() if device.kind in home.devices]
        raise UsageError(
            f"the engine {engine} runs on {' and '.join(_ENGINES[engine].devices)}; received the device {device}."
            f" Engines for {device.kind}: {', '.join(fitting)}"
        )


def _described(session: Session, reason: str) -> str:
    precision = f" {session.precision}" if session.precision else ""
    return f"{session.info.engine}{precision}: {reason}"


def check_model(model: Path | str, options: SessionOptions) -> None:
    """Check that model and device exist, without opening an engine, and that the model takes frames.

    Raises `BundleError` or `GraphError` for a model that does not exist or cannot be read, `UsageError` for a device
    that this machine lacks, or a model that takes no frames.
    """
    _ = model_spec(model).frames
    find_device(options.device)


def model_spec(model: Path | str) -> ModelSpec:
    """The spec of a bundle or an ONNX file; raises `BundleError` or `GraphError` if it cannot be read."""
    path = Path(model)
    return embedded_spec(path) if path.suffix == ".onnx" else Bundle.open(path).spec


def _open(
    name: str, bundle: Bundle | None, path: Path, options: SessionOptions, asked: str = "requested"
) -> Session:
    home = _ENGINES[name]
    try:
        module = importlib.import_module(f"edgevision.engines.{home.module}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != home.package:
            raise
        raise MissingExtraError(home.package, home.extra, f"engine {home.module}") from error
    opener = getattr(module, home.opener)
    session: Session
    if bundle is not None and bundle.manifest.parts:
        if options.precision is None and home.takes == "bundle":
            options = replace(options, precision=built_precision(bundle, name))
        session = _open_chosen(functools.partial(_open_program, name), bundle, name, options, asked)
    elif home.takes == "graph":
        session = (
            opener(path, None, options)
            if bundle is None
            else _open_chosen(functools.partial(_open_graph, opener), bundle, name, options, asked)
        )
    elif bundle is None:
        raise UsageError(
            f"{home.module} runs engines built for this device; received {path}. Build an engine with `edgevision"
            f" build BUNDLE`, then open the bundle"
        )
    else:
        session = opener(bundle, options)
    if bundle is not None:
        held = COMPUTED.get(session.precision or "float", session.precision or "float")
        files = (entry.file for entry in bundle.manifest.graphs if entry.precision == held)
        session.graph_sha256 = next((file.sha256 for file in files), None)
        session.tokenizers = bundle.tokenizer_files()
    if bundle is not None and bundle.lost_operating_point:
        session.info = replace(session.info, notes=(*session.info.notes, LOST))
    if bundle is not None and bundle.operating_point is not None:
        session.threshold = bundle.operating_point.thresholds(bundle.spec.classes)
        LOG.info("%s: confidence thresholds of the bundle: %s", bundle.spec.name, f"{session.threshold:.2f}")
    return session


def _open_graph(
    opener: Callable[[Path, ModelSpec | None, SessionOptions], Session],
    bundle: Bundle,
    options: SessionOptions,
) -> Session:
    return opener(bundle.graph_path(options.precision or "float"), bundle.spec, options)


def _open_program(name: str, bundle: Bundle, options: SessionOptions) -> Session:
    """Open the graphs of a program, each with the program's precision for it."""
    wanted = options.precision or "float"
    program = bundle.program(COMPUTED.get(wanted, wanted))

    def open_part(graph: ProgramGraph) -> Session:
        precision = wanted if wanted in COMPUTED else graph.precision
        part = with_cached_records(bundle.part(graph.name))
        return _open(name, part, part.path, replace(options, precision=precision))

    return ProgramSession(
        bundle.spec, program, {graph.name: functools.partial(open_part, graph) for graph in program.graphs}
    )


def _open_chosen(
    opener: Callable[[Bundle, SessionOptions], Session],
    bundle: Bundle,
    engine: str,
    options: SessionOptions,
    asked: str,
) -> Session:
    """Open the graph that the bundle's records select, and log the choice."""
    # `machine_name` calls system tools, which is slow; it is needed only if speeds were recorded.
    name = machine_name() if any(entry.speeds for entry in bundle.manifest.graphs) else ""
    gpu_index = gpu_index_of(options.device)
    machine = MachineIdentity(name, machine_class(engine, gpu_index))
    ask = functools.partial(
        choose_graph,
        engine=engine,
        machine=machine,
        precision=options.precision,
        asked=asked,
        force=options.force,
    )
    while not (choice := ask(bundle)).verified:
        # Use the graph's own thresholds, which produced the golden answers.
        plain = replace(options, iou_threshold=None, score_floor=None, label=None, precision=choice.precision)
        with opener(bundle, plain) as trial:
            record = verify_first_opening(trial, bundle, choice.precision)
        bundle = bundle.with_record(choice.precision, record)  # the next choice is then a verified one
    # Settings of some engines depend on the precision.
    chosen = replace(options, precision=choice.precision)
    session = opener(bundle, chosen)
    session.precision = choice.precision
    if len(bundle.manifest.graphs) > 1 or options.force or choice.precision in COMPUTED:
        note = f"{graph_name(choice.precision)}: {choice.reason}"
        session.info = replace(session.info, notes=(note, *session.info.notes))
        LOG.info("%s in %s: %s", bundle.spec.name, engine, note)
    return session
