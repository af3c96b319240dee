"""The way of a frame through this package's modules, as Python's own profiler hook sees it.

    python benchmarks/ways.py BUNDLE SOURCE

Runs three frames, one stage after another in one thread, into JSON lines, and lists for the last frame which modules it
passes in order, how many functions that are, and how often it returns to a module that it had left. Properties, class
bodies and what libraries do inside are left out.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path
from types import FrameType

import edgevision
from edgevision import open_session, open_source, run_pipeline
from edgevision.pipeline.options import PipelineOptions
from edgevision.sinks.files.json_lines import JsonlSink
from edgevision.sinks.processed import Processed

ROOT = Path(edgevision.__file__).parent
FRAMES = 3


class Trace:
    """Calls of functions of this package, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """What `sys.setprofile` calls."""
        path = Path(frame.f_code.co_filename)
        if event != "call" or ROOT not in path.parents:
            return
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        self.calls.append(
            (module, frame.f_code.co_qualname if sys.version_info >= (3, 11) else frame.f_code.co_name)
        )


def returns(modules: list[str]) -> int:
    """How often a module comes again after others."""
    left: set[str] = set()
    count = 0
    for before, module in itertools.pairwise(modules):
        if module != before:
            left.add(before)
            count += module in left
    return count


def main() -> None:
    """Trace and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("source")
    arguments = parser.parse_args()
    trace = Trace()
    seen = 0

    def note(_: Processed) -> None:
        nonlocal seen
        seen += 1
        if seen < FRAMES:  # what is left is the last frame's
            trace.calls.clear()

    with tempfile.TemporaryDirectory() as folder, open_session(arguments.bundle) as session:
        source = open_source(arguments.source)
        sink = JsonlSink(Path(folder) / "out.jsonl")
        options = PipelineOptions(limit=FRAMES, serial=True)
        sys.setprofile(trace)
        try:
            run_pipeline(session, source, [sink], options=options, on_frame=note)
        finally:
            sys.setprofile(None)
    calls = [call for call in trace.calls if not call[1].startswith("<")]
    last = next((i for i, call in enumerate(calls) if call[1].endswith("note")), len(calls))
    modules = [module for module, _ in calls[:last]]
    distinct = list(dict.fromkeys(modules))
    functions = len(set(calls[:last]))
    print("\n".join(distinct))
    print(
        f"{functions} functions in {len(distinct)} modules, {returns(modules)} returns to one that was left"
    )


if __name__ == "__main__":
    main()
