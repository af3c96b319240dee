"""A graph with loops is run once in a process of its own, which is ended if it does not answer in time.

A loop may have no end. ONNX Runtime cannot be interrupted while it opens such a graph or folds it, a process can.
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
    """Raise `GraphError` if a graph with loops answers zeros not within `timeout_s`; one without loops is not run.

    What it answers, or why it fails, is not looked at: whoever runs it next reports that.
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
                f"{name} has a loop and did not answer one frame within {timeout_s:g} s: the loop may have no end;"
                " --timeout SECONDS waits longer"
            ) from error


def main() -> None:
    """Open the file that is named, and run it on zeros."""
    session = cpu_session(sys.argv[1])
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
    inputs = {
        value.name: np.zeros([n if isinstance(n, int) else 1 for n in value.shape], kinds[value.type])
        for value in session.get_inputs()
    }
    session.run(None, inputs)


if __name__ == "__main__":
    main()
