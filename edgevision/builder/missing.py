"""Decides if a bundle needs a new engine before it can run on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgevision.bundle.folder import Bundle
from edgevision.contract.session import SessionOptions
from edgevision.device.names import device_named, gpu_index_of
from edgevision.engines.tensorrt.here import running_here
from edgevision.engines.tensorrt.library import Library, load_library
from edgevision.engines.tensorrt.manifest import Rebuild, Refuse
from edgevision.engines.tensorrt.store import choose_engine
from edgevision.engines.tensorrt.versions import FLAVOURS
from edgevision.errors import EngineError, UsageError


@dataclass(frozen=True, slots=True)
class Need:
    """An engine to build."""

    bundle: Bundle
    library: Library
    rebuild: Rebuild


def engine_needed(path: Path, engine: str | None, options: SessionOptions, asked_by: str) -> Need | None:
    """The engine to build before the bundle at `path` can run on `engine` here; None if a stored one fits.

    Precision and device are those of `options`. `asked_by` names the option or configuration key in messages. Raises
    `UsageError` for an engine that is not built, `MissingExtraError` if its library is absent, and `EngineError` if a
    build would not help.
    """
    flavour = {str(name): name for name in FLAVOURS}.get(engine or "")
    if flavour is None:
        raise UsageError(f"{asked_by} needs the engine tensorrt or tensorrt-rtx; received {engine or 'none'}")
    library = load_library(flavour, asked_by)
    bundle = Bundle.open(path)
    device = device_named(options.device)
    running = running_here(library, gpu_index_of(options.device))
    decision = choose_engine(bundle, running, options.precision, device)
    if isinstance(decision, Refuse):
        raise EngineError(str(decision))
    return Need(bundle, library, decision) if isinstance(decision, Rebuild) else None
