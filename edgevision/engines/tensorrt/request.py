"""What is wanted of a bundle's engines, and the command that says the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgevision.contract.spec import Precision
from edgevision.engines.tensorrt.versions import Flavour

DEFAULT_LEVEL = 3
"""Of TensorRT's optimisation levels 0 to 5, where the user names none: the library's own default."""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What the user wants of a bundle's engines; None leaves a choice to the machine."""

    precision: Precision | Literal["auto", "all"] = "auto"
    """"auto": the lowest that was verified, and the next one where it cannot be built; "all": each one."""
    sms: tuple[int, ...] | None = None
    workspace_mib: int | None = None
    memory_mib: int | None = None
    """What the build may use, in place of what is measured as free; it changes no plan."""
    dla_core: int | None = None
    timing_cache: Path | None = None
    level: int = DEFAULT_LEVEL
    rebuild: bool = False


def build_command(bundle: str, flavour: Flavour, request: EngineRequest) -> str:
    """What to type for such an engine on the machine that is to run it: its graph, its DLA core, and whether anew."""
    words = ["edgevision build", bundle, f"--engine {flavour}"]
    if request.precision != "auto":
        words.append(f"--precision {request.precision}")
    if request.dla_core is not None:
        words.append(f"--dla {request.dla_core}")
    return " ".join([*words, *(["--rebuild"] if request.rebuild else [])])
