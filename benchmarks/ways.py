"""Paths of a setting, a source and a frame through this package's modules, recorded by Python's profiler hook.

    python benchmarks/ways.py BUNDLE SOURCE

A step is a call from one module of the package to another that passes the traced value: as an argument or a result,
directly or in a field of a dataclass. A frame is traced with its pixels and the results computed from them, from the
source to the sink. Calls within a module are not steps. A return is a step into a module that was left before. Settings
are traced through ``edgevision run``, and a frame through `run_pipeline` with the stages in sequence.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import io
import itertools
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import edgevision
from edgevision import open_session, open_source, run_pipeline
from edgevision.cli.root import edgevision as command_line
from edgevision.contract.results import Detections
from edgevision.pipeline.collector import FrameBatch
from edgevision.pipeline.options import PipelineOptions
from edgevision.sinks.files.json_lines import JsonlSink
from edgevision.sinks.frame_result import FrameResult
from edgevision.sources.frames import SourceFrame

ROOT = Path(edgevision.__file__).parent
THRESHOLD = 0.3141
PRECISION = "float"

Test = Callable[[Any], bool]
PARTS_OF_A_FRAME = (np.ndarray, SourceFrame, FrameBatch, FrameResult, Detections)


@dataclasses.dataclass(slots=True)
class Way:
    """Functions that received the value, in order: module of the caller, own module and name."""

    test: Test
    steps: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)

    @property
    def modules(self) -> list[str]:
        """Modules in order, without consecutive repetitions."""
        return [module for module, _ in itertools.groupby(module for _, module, _ in self.steps)]

    @property
    def returns(self) -> int:
        """Steps into a module that was left before."""
        return len(self.modules) - len(set(self.modules))

    def drawn(self) -> list[str]:
        """Lines of a Mermaid flowchart: one for each pair of packages, with the called modules."""
        called: dict[tuple[str, str], list[str]] = {}
        for caller, module, _ in self.steps:
            package, _, name = module.partition(".")
            modules = called.setdefault((caller.partition(".")[0], package), [])
            if name not in modules:
                modules.append(name)
        return [
            f"    {caller} -->|{', '.join(modules)}| {package}"
            for (caller, package), modules in called.items()
            if caller not in (package, "program")
        ]


class Trace:
    """Hook for `sys.setprofile`."""

    def __init__(self, ways: dict[str, Way]) -> None:
        self._ways = ways

    def __call__(self, frame: FrameType, event: str, returned: object) -> None:
        """Record calls from another module that pass a traced value, and returns to one."""
        if event not in ("call", "return") or frame.f_code.co_name.startswith(("<", "__post")):
            return
        module = module_of(frame)
        if module is None:
            return
        calling = caller_of(frame)
        if calling == module:
            return
        if event == "call":
            names = frame.f_code.co_varnames[: frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount]
            values = [frame.f_locals[name] for name in names if name in frame.f_locals]
        else:
            values = [returned]
        for way in self._ways.values():
            if any(holds(value, way.test) for value in values):
                step = (calling, module, frame.f_code.co_qualname)
                # A function that receives the value and returns it counts as one step.
                if step not in way.steps:
                    way.steps.append(step)


def module_of(frame: FrameType) -> str | None:
    """The dotted name within the package; None for other code."""
    return _module_of_file(frame.f_code.co_filename)


@functools.cache
def _module_of_file(name: str) -> str | None:
    path = Path(name)
    return ".".join(path.relative_to(ROOT).with_suffix("").parts) if ROOT in path.parents else None


def caller_of(frame: FrameType) -> str:
    """The module of the nearest caller within the package, across comprehensions and other libraries."""
    caller = frame.f_back
    while caller is not None:
        module = module_of(caller)
        if module is not None and not caller.f_code.co_name.startswith("<"):
            return module
        caller = caller.f_back
    return "program"


def holds(value: object, test: Test) -> bool:
    """True for the value itself, a sequence with it, and a dataclass with it in a field."""
    if test(value):
        return True
    if isinstance(value, (tuple, list)):
        return any(test(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, SourceFrame)):
        return any(test(getattr(value, field.name, None)) for field in dataclasses.fields(value))
    return False


def ways_of_settings(bundle: str, source: str) -> dict[str, Way]:
    """Run the command and return the paths of threshold, source and precision."""
    ways = {
        "threshold": Way(lambda value: isinstance(value, float) and value == THRESHOLD),
        "source": Way(lambda value: isinstance(value, (str, Path)) and str(value) == source),
        "precision": Way(lambda value: isinstance(value, str) and value == PRECISION),
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        arguments = ["run", bundle, source, "--limit", "1", "--threshold", str(THRESHOLD)]
        arguments += ["--precision", PRECISION, "--jsonl", f"{folder}/out.jsonl"]
        with traced(Trace(ways)):
            command_line.main(arguments, standalone_mode=False)
    return ways


def way_of_a_frame(bundle: str, source: str) -> Way:
    """Run two frames with the stages in sequence in one thread, and return the path of the second."""
    way = Way(lambda value: isinstance(value, PARTS_OF_A_FRAME))
    with tempfile.TemporaryDirectory() as folder, open_session(bundle) as session:
        frames = open_source(source)
        read = frames.read

        def read_again() -> SourceFrame | None:
            way.steps.clear()
            return read()

        frames.read = read_again  # type: ignore[method-assign]
        sink = JsonlSink(Path(folder) / "out.jsonl")
        with traced(Trace({"frame": way})):
            run_pipeline(session, frames, [sink], options=PipelineOptions(limit=2, serial=True))
    return way


def way_of_a_checkpoint(recipe: str, checkpoint: Path) -> Way:
    """Export it; the traced values are the file, its contents, the model and its graph."""
    import onnx

    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.recipe import SourceModel

    parts = (Checkpoint, SourceModel, onnx.ModelProto)
    way = Way(lambda value: isinstance(value, parts) or (isinstance(value, Path) and value == checkpoint))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        arguments = ["export", recipe, "--checkpoint", str(checkpoint), "-o", f"{folder}/bundle"]
        with traced(Trace({"checkpoint": way})):
            command_line.main(arguments, standalone_mode=False)
    return way


@contextlib.contextmanager
def traced(hook: Trace) -> Iterator[None]:
    """Trace this thread and all threads started meanwhile."""
    threading.setprofile(hook)
    sys.setprofile(hook)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def main() -> None:
    """Trace the values and print their paths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("source")
    parser.add_argument("--functions", action="store_true", help="print every function, not only the modules")
    parser.add_argument(
        "--checkpoint", nargs=2, metavar=("RECIPE", "FILE"), help="also trace an export of this recipe"
    )
    arguments = parser.parse_args()
    ways = ways_of_settings(arguments.bundle, arguments.source)
    ways["frame"] = way_of_a_frame(arguments.bundle, arguments.source)
    if arguments.checkpoint:
        ways["checkpoint"] = way_of_a_checkpoint(arguments.checkpoint[0], Path(arguments.checkpoint[1]))
    for name, way in ways.items():
        functions = len(set(way.steps))
        print(f"{name}: {functions} functions, {len(set(way.modules))} modules, {way.returns} returns")
        steps = [(module, function) for _, module, function in way.steps]
        for module, function in steps if arguments.functions else [(module, "") for module in way.modules]:
            print(f"  {module:32} {function}".rstrip())
        print("\n".join(way.drawn()))


if __name__ == "__main__":
    main()
