"""Accuracy and latency of the graphs of PyTorch's two ONNX exporters.

    python benchmarks/exporters.py [--checkpoint yolov5n.pt]

For each recipe both exporters write the bare network at opset 17. Each graph is simplified, run on the packaged
photographs in ONNX Runtime and compared with PyTorch. Latency is the median of interleaved calls.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from edgevision.contract.spec import FrameInput
from edgevision.export.file_source import relative_difference
from edgevision.export.frames import golden_frames
from edgevision.export.golden import network_input
from edgevision.export.network import INPUT
from edgevision.graph.builder import OPSET
from edgevision.graph.contract import opset_of
from edgevision.graph.simplify import simplify
from edgevision.models.recipe import load_recipe

CALLS = 30


def exported(module: torch.nn.Module, tensor: torch.Tensor, *, dynamo: bool) -> onnx.ModelProto:
    """The bare network from one of the exporters, before simplification."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        options = {"input_names": [INPUT], "opset_version": OPSET, "dynamo": dynamo, "verbose": False}
        program = torch.onnx.export(module, (tensor,), None if dynamo else buffer, **options)  # type: ignore[arg-type]
    if program is not None:
        return program.model_proto
    return onnx.load_model_from_string(buffer.getvalue())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, help="YOLOv5 checkpoint; default: random weights")
    arguments = parser.parse_args()
    print(
        f"{'recipe':<8} {'exporter':<12} {'opset':>5} {'nodes':>5} {'export s':>8} {'difference':>10} {'ms':>7}"
    )
    for name in ("yolov5", "resnet", "cnn"):
        recipe = load_recipe(name)
        known = name == "yolov5" and arguments.checkpoint
        source = recipe.load(arguments.checkpoint) if known else recipe.untrained()
        source.module.eval()
        frames = FrameInput(recipe.size_wh, recipe.fit, crop_fraction=recipe.crop_fraction)
        tensor, _ = network_input(golden_frames(None, frames)[:1], frames, recipe.pixels)
        with torch.no_grad():
            answer = source.module(tensor)
        expected = [a.numpy() for a in ([answer] if isinstance(answer, torch.Tensor) else answer)]
        rows, sessions = [], []
        for label, dynamo in (("TorchScript", False), ("dynamo", True)):
            began = time.perf_counter()
            network = simplify(exported(source.module, tensor, dynamo=dynamo))
            seconds = time.perf_counter() - began
            session = onnxruntime.InferenceSession(
                network.SerializeToString(), providers=["CPUExecutionProvider"]
            )
            actual = session.run(None, {session.get_inputs()[0].name: tensor.numpy()})
            difference = max(map(relative_difference, expected, actual))
            rows.append((label, opset_of(network), len(network.graph.node), seconds, difference))
            sessions.append(session)
        samples: list[list[float]] = [[], []]
        feed = np.ascontiguousarray(tensor.numpy())
        for _ in range(CALLS):
            for session, taken in zip(sessions, samples, strict=True):
                began = time.perf_counter()
                session.run(None, {session.get_inputs()[0].name: feed})
                taken.append(1e3 * (time.perf_counter() - began))
        for (label, opset, nodes, seconds, difference), taken in zip(rows, samples, strict=True):
            median = statistics.median(taken)
            print(
                f"{name:<8} {label:<12} {opset:>5} {nodes:>5} {seconds:>8.1f} {difference:>10.1e} {median:>7.2f}"
            )


if __name__ == "__main__":
    main()
