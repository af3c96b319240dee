"""A program: several graphs that make an image together, and the order in which a runner calls them.

A pipeline whose weights do not fit one ONNX file is divided into text encoders, one step of the denoiser, and the
decoder. Each is a bundle of its own in a folder of the pipeline's bundle. The program is a file beside them. It names
the graphs with their hashes, holds the table of the sampler, and states how much memory the graphs need.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edgevision.contract.spec import Precision
from edgevision.errors import BundleError
from edgevision.storage.codec import DecodeError, dataclass_from_json, newer_schema

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ProgramGraph:
    """One graph of a program."""

    name: str
    """Folder of its bundle."""
    precision: Precision
    sha256: str
    """Of the ONNX file, which contains the hash of its weights."""
    weights_bytes: int
    activations_bytes: int
    """Largest sum of values that exist at the same time, for the largest batch."""

    def __post_init__(self) -> None:
        if Path(self.name).name != self.name or self.name in ("", ".", ".."):
            raise ValueError(f"folder name {self.name!r} leaves the bundle")

    @property
    def bytes(self) -> int:
        """Memory while it runs."""
        return self.weights_bytes + self.activations_bytes


@dataclass(frozen=True, slots=True)
class ProgramStep:
    """One call of the denoiser, and the next sample.

    The denoiser receives ``input_scale * sample`` and `timestep`. The next sample is ``keep * sample``, plus the
    outputs of this and earlier calls times `outputs` (one weight for each call from the first), plus `noise` times new
    noise.
    """

    timestep: float
    input_scale: float
    keep: float
    outputs: tuple[float, ...]
    noise: float


@dataclass(frozen=True, slots=True)
class Program:
    """Content of ``program.json``; the first sample is `first` times noise."""

    encoders: tuple[ProgramGraph, ...]
    denoiser: ProgramGraph
    decoder: ProgramGraph
    first: float
    steps: tuple[ProgramStep, ...]
    memory_bytes: int | None = None
    """Memory of the device that the program was planned for; None: no limit."""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        names = [graph.name for graph in self.graphs]
        if len(set(names)) != len(names):
            raise ValueError(f"expected graphs of different names; received {', '.join(names)}")

    @property
    def graphs(self) -> tuple[ProgramGraph, ...]:
        """All graphs, in the order of their calls."""
        return (*self.encoders, self.denoiser, self.decoder)

    @property
    def together_bytes(self) -> int:
        """Memory with all graphs loaded: all weights, and the activations of the one that runs."""
        return sum(g.weights_bytes for g in self.graphs) + max(g.activations_bytes for g in self.graphs)

    @property
    def largest(self) -> ProgramGraph:
        """The graph that needs the most memory while it runs."""
        return max(self.graphs, key=lambda graph: graph.bytes)

    @property
    def in_turn(self) -> bool:
        """True if each graph is loaded for its calls only, because all together exceed the memory."""
        return self.memory_bytes is not None and self.together_bytes > self.memory_bytes

    @property
    def peak_bytes(self) -> int:
        """Largest memory of the graphs: of all together, or of the largest one if they are loaded in turn."""
        return self.largest.bytes if self.in_turn else self.together_bytes

    @property
    def fits(self) -> bool:
        """True if the graphs fit the memory."""
        return self.memory_bytes is None or self.peak_bytes <= self.memory_bytes

    @property
    def plan(self) -> str:
        """The memory plan in words."""
        peak, largest = size_text(self.peak_bytes), self.largest
        limit = "" if self.memory_bytes is None else f" of {size_text(self.memory_bytes)}"
        if not self.in_turn:
            return f"all graphs stay loaded: peak {peak}{limit}"
        return (
            f"graphs are loaded in turn: peak {peak}{limit} ({largest.name}: {size_text(largest.weights_bytes)} of"
            f" weights, {size_text(largest.activations_bytes)} of activations); all together need"
            f" {size_text(self.together_bytes)}"
        )


def size_text(count: int) -> str:
    """Bytes as "3.44 GB" or "12.5 MB"."""
    return f"{count / 1e9:.2f} GB" if count >= 100_000_000 else f"{count / 1e6:.1f} MB"


def read_program(path: Path) -> Program:
    """Read a program file; raises `BundleError`."""
    try:
        data = json.loads(path.read_bytes())
        newer = newer_schema(data, SCHEMA)
        if newer is not None:
            raise BundleError(f"{path} has {newer}, or export the bundle again")
        return dataclass_from_json(Program, data)
    except (OSError, ValueError, DecodeError) as error:
        raise BundleError(f"{path} cannot be read: {error}; export the bundle again") from error
