"""An engine request and the equivalent command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgevision.contract.spec import Precision
from edgevision.engines.tensorrt.versions import Flavour

DEFAULT_LEVEL = 3
"""Default of TensorRT's optimisation levels 0 to 5: the library's own default."""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """The user's choices for a bundle's engines; None leaves a choice to the machine."""

    precision: Precision | Literal["auto", "all"] = "auto"
    """"auto": the lowest verified precision, then the next if it cannot be built; "all": each one."""
    sms: tuple[int, ...] | None = None
    workspace_mib: int | None = None
    memory_mib: int | None = None
    """Memory that the build may use, instead of the measured free memory; it does not change the plan."""
    dla_core: int | None = None
    timing_cache: Path | None = None
    level: int = DEFAULT_LEVEL
    rebuild: bool = False


def build_command(bundle: str, flavour: Flavour, request: EngineRequest) -> str:
    """The command that builds such an engine on its target machine: graph, DLA core and rebuild flag."""
    words = ["edgevision build", bundle, f"--engine {flavour}"]
    if request.precision != "auto":
        words.append(f"--precision {request.precision}")
    if request.dla_core is not None:
        words.append(f"--device dla:{request.dla_core}")
    return " ".join([*words, *(["--rebuild"] if request.rebuild else [])])
