"""Runs a graph with loops once in a separate process, with a time limit.

A loop may be endless. ONNX Runtime cannot be interrupted while it opens or folds such a graph, but a process can be
killed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

from edgevision.engines.ort_settings import cpu_session
from edgevision.errors import GraphError
from edgevision.graph.surgery import walk

TIMEOUT_S = 120.0
LOOPS = frozenset(("Loop", "Scan"))


def require_an_end(network: onnx.ModelProto, name: str, timeout_s: float = TIMEOUT_S) -> None:
    """Raise `GraphError` if a graph with loops does not finish within `timeout_s`; one without loops is not run.

    The result is ignored, a failure too: the next run reports it.
    """
    if not any(node.op_type in LOOPS for graph in walk(network.graph) for node in graph.node):
        return
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(network, file)
        try:
            subprocess.run(
                [sys.executable, "-m", "edgevision.graph.first_run", str(file)],
                capture_output=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise GraphError(
                f"{name} has a loop and did not finish one frame within {timeout_s:g} s: the loop may be endless; to"
                " wait longer: --timeout SECONDS"
            ) from error


def main() -> None:
    """Open the named file and run it on zeros."""
    session = cpu_session(sys.argv[1])
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
    inputs = {
        value.name: np.zeros([n if isinstance(n, int) else 1 for n in value.shape], kinds[value.type])
        for value in session.get_inputs()
    }
    session.run(None, inputs)


if __name__ == "__main__":
    main()
