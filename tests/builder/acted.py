"""A simulated TensorRT of recorded signatures that builds slowly, layer by layer, and records the timed layers.

Run as a program it is one build of a bundle, to be killed::

    python -m tests.builder.acted BUNDLE
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from edgevision.builder.builder import BuildCallbacks
from edgevision.builder.engines import Outcome, build_engines
from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import Precision
from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.request import EngineRequest
from edgevision.engines.tensorrt.versions import dialect
from tests.builder.recorded import RecordedModule, Script, working
from tests.hardware import AGX_ORIN

VERSION = "tensorrt-10.3.0"
LAYERS = 40
ORIN = AGX_ORIN


class ActedBuilder:
    """The work and results of a build: a plan that lists the layers it timed, and a timing cache that holds them."""

    def __init__(self, seconds_per_layer: float = 0.0) -> None:
        self.script: Script = working(VERSION)
        self.seconds_per_layer = seconds_per_layer
        self.timed: list[int] = []
        """Layers that had to be timed, because the cache did not know them."""
        self.known: set[int] = set()
        self.script.answers["IBuilderConfig", "create_timing_cache"] = self._begin
        self.script.answers["ITimingCache", "serialize"] = lambda *_: json.dumps(sorted(self.known)).encode()
        self.script.answers["Builder", "build_serialized_network"] = self._build

    def library(self) -> Library:
        version = VERSION.split("-")[1]
        return Library(
            "tensorrt", version, dialect("tensorrt", version), RecordedModule(VERSION, self.script)
        )

    def _begin(self, config: Any, data: bytes) -> Any:
        self.known = set(json.loads(data)) if data else set()
        return config._default("create_timing_cache() -> tensorrt.ITimingCache")

    def _build(self, *_: Any) -> bytes | None:
        ((monitor,),) = self.script.made("IBuilderConfig", "progress_monitor")[-1:]
        monitor.phase_start("Building engine", None, LAYERS)
        for layer in range(LAYERS):
            time.sleep(self.seconds_per_layer)
            if layer not in self.known:
                self.timed.append(layer)
                self.known.add(layer)
            if not monitor.step_complete("Building engine", layer):
                return None
        monitor.phase_finish("Building engine")
        return b"plan" * 50_000


def build(
    bundle: Path,
    acted: ActedBuilder,
    precision: Precision | Literal["auto"] = "float",
    *,
    stop: bool = False,
    **request: Any,
) -> tuple[Outcome, ...]:
    """One build on a simulated Orin; running the engine reports nothing."""
    watch = BuildCallbacks(lambda _: None, lambda _: None, lambda: stop)
    wanted = EngineRequest(precision, **request)
    with mock.patch("edgevision.builder.engines.gpu_facts", return_value=ORIN):
        return build_engines(Bundle.open(bundle), acted.library(), wanted, watch, lambda _, e: e.manifest)


if __name__ == "__main__":
    actor = ActedBuilder(seconds_per_layer=0.01)
    print("began", flush=True)
    build(Path(sys.argv[1]), actor, rebuild=True)
    print(f"timed {len(actor.timed)} of {LAYERS} layers", flush=True)
