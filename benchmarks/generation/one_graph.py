"""A diffusion sampler as one graph beside calls of its network step by step, in ONNX Runtime and OpenVINO.

    python benchmarks/generation/one_graph.py WEIGHTS.safetensors [--images N] [--rounds N] [--json FILE]

Both forms have the same weights, steps and guidance, and start from the same noise; a step is one call, with both
halves of the guidance at the times at which it acts. In each round both make the same images, one at a time, in turns.
The ratio is the step-by-step time over the whole graph's, as the median of the rounds. Exit code 1 if an image differs
by more than `TOLERANCE` of 0..1.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import openvino
import torch

from edgevision.checkpoint.reading import read_checkpoint
from edgevision.device.facts import device_facts
from edgevision.engines.ort_settings import cpu_session, session_settings
from edgevision.export.network import onnx_from_inputs
from edgevision.models.generators.diffusion import Denoiser, denoiser_from_state_dict
from edgevision.models.generators.sampler import Sampler, advanced, guided
from edgevision.storage import atomic
from edgevision.storage.codec import json_from_dataclass

TOLERANCE = 1e-4
Array = npt.NDArray[Any]
Network = Callable[[dict[str, Array]], Array]


class OneStep(torch.nn.Module):
    """A prediction with guidance, at a time that is an input."""

    def __init__(self, denoiser: Denoiser, guidance: float) -> None:
        super().__init__()
        self.denoiser, self.guidance = denoiser, guidance

    def forward(self, noise: torch.Tensor, label: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Noisy images ``[B,C,H,W]``, labels ``[B]`` and a time ``[1]`` to predictions."""
        return guided(self.denoiser, noise, time, label, self.guidance)


def opened(graph: onnx.ModelProto, engine: str) -> Network:
    """A function that runs the graph."""
    data = graph.SerializeToString()
    if engine == "onnxruntime":
        session = cpu_session(data, session_settings(1))
        return lambda given: np.asarray(session.run(None, given)[0])
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(data), "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    )
    return lambda given: np.array(compiled(given)[0])


def step_by_step(networks: dict[float, Network], sampler: Sampler, noise: Array, label: Array) -> Array:
    """The sampling with one call of a network for each step; there is one for each guidance."""
    x, predictions = torch.from_numpy(noise), []
    for now, scale in zip(sampler.schedule.times, sampler.schedule.guidance, strict=False):
        given = {"noise": x.numpy(), "label": label, "time": np.array([now], np.float32)}
        predictions.append(torch.from_numpy(networks[scale](given)))
        x = advanced(x, predictions, sampler.schedule)
    return ((x + 1) / 2).clamp(0, 1).numpy()


def compared(engine: str, sampler: Sampler, images: int, rounds: int) -> dict[str, Any]:
    """Times of both forms and the largest difference of their images and PyTorch's."""
    shape, label = (1, *sampler.denoiser.noise_shape), torch.zeros(1, dtype=torch.int64)
    given = {"noise": torch.zeros(shape), "label": label}
    whole = opened(onnx_from_inputs(sampler, given, dynamic_batch=False), engine)
    networks = {
        scale: opened(
            onnx_from_inputs(
                OneStep(sampler.denoiser, scale).eval(), {**given, "time": torch.ones(1)}, dynamic_batch=False
            ),
            engine,
        )
        for scale in set(sampler.schedule.guidance)
    }
    noises = np.random.default_rng(0).standard_normal((images, *shape), np.float32)
    labels = [np.array([number % sampler.denoiser.classes], np.int64) for number in range(images)]
    worst, times_s = 0.0, {"whole": [0.0] * rounds, "steps": [0.0] * rounds}
    for number in range(rounds):
        for noise, label_of in zip(noises, labels, strict=True):
            began = time.perf_counter()
            at_once = whole({"noise": noise, "label": label_of})
            between = time.perf_counter()
            by_steps = step_by_step(networks, sampler, noise, label_of)
            times_s["whole"][number] += between - began
            times_s["steps"][number] += time.perf_counter() - between
            if number == 0:
                with torch.no_grad():
                    expected = sampler(torch.from_numpy(noise), torch.from_numpy(label_of)).numpy()
                worst = max(worst, *(float(np.abs(made - expected).max()) for made in (at_once, by_steps)))
    ratios = [steps / at_once for steps, at_once in zip(times_s["steps"], times_s["whole"], strict=True)]
    return {
        "engine": engine,
        "images_per_s": round(images / statistics.median(times_s["whole"]), 2),
        "ms_per_step": round(1000 * statistics.median(times_s["whole"]) / images / sampler.steps, 2),
        "ms_per_step_alone": round(1000 * statistics.median(times_s["steps"]) / images / sampler.steps, 2),
        "step_by_step_over_whole": round(statistics.median(ratios), 3),
        "largest_difference": worst,
    }


def main() -> int:
    """Compare in both engines and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    sampler = Sampler(denoiser_from_state_dict(read_checkpoint(options.weights).tensors)).eval()
    rows = [
        compared(engine, sampler, options.images, options.rounds) for engine in ("onnxruntime", "openvino")
    ]
    for row in rows:
        print(
            f"{row['engine']}: {row['images_per_s']} images/s of {sampler.steps} steps, {row['ms_per_step']} ms a step;"
            f" step by step {row['ms_per_step_alone']} ms, {row['step_by_step_over_whole']} times as long; largest"
            f" difference from PyTorch {row['largest_difference']:.2g}",
            flush=True,
        )
    if options.json is not None:
        record = {
            "model": options.weights.stem,
            "steps": sampler.steps,
            "guidance": sampler.schedule.guidance,
            "threads": 1,
        }
        record |= {"rounds": options.rounds, "rows": rows, "device": json_from_dataclass(device_facts())}
        atomic.write_file(options.json, (json.dumps(record, indent=1) + "\n").encode())
    return 0 if all(row["largest_difference"] <= TOLERANCE for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
