"""An adopted file as the source of golden answers: its raw outputs, candidates, and its own noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgevision.bundle.candidates import Sensitivity
from edgevision.bundle.folder import Golden
from edgevision.contract.spec import NmsSpec
from edgevision.contract.transform import FrameTransform
from edgevision.export.candidates import BEST, relative_ranks, source_candidates
from edgevision.graph.adopt import Adoption
from edgevision.graph.foreign.plugins import without_plugin
from edgevision.graph.heads.head import SELECTING, DetectionHead
from edgevision.graph.reference import (
    answers_from_raw,
    frame_placement,
    network_pixels,
    probabilities,
    source_raw,
)
from edgevision.graph.surgery import RENAMED, walk
from edgevision.verification.pairs import box_differences, score_differences

Array = npt.NDArray[Any]

ROUNDING = frozenset(("DynamicQuantizeLinear", "QuantizeLinear"))
"""Operators that round values at run time: the last bit of an input decides a whole step of an output."""
TRIALS = 3
"""Random changes of the input, of each kind, to measure a model's noise by."""
SHARE, FEWEST = 1e-4, 4
"""Share of the values of a frame that change by one level, and their least number."""
_SMALLEST_SIDE = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class RawOutputs:
    """A source model's raw outputs for the golden frames, batch first, each with its name in the graph."""

    names: tuple[str, ...]
    arrays: list[Array]
    head: DetectionHead | None = None
    """How they are decoded."""
    placement: FrameTransform | None = None
    """Where the graph's frames lie in the network's input."""


def golden_from_file(
    path: Path, adoption: Adoption, frames: npt.NDArray[np.uint8]
) -> tuple[Golden, RawOutputs]:
    """Run the unmodified file on frames uint8 ``[N,H,W,3]`` of the graph's size; raises `GraphError`."""
    tensors = network_pixels(frames, adoption)
    raw = source_raw(path, adoption, tensors)
    answers = answers_from_raw(raw, adoption)
    noise = source_sensitivity(path, adoption, frames, tensors, raw) if rounds(adoption.model) else None
    candidates = None
    placement = frame_placement(adoption) or FrameTransform(adoption.network_size_wh, (1, 1), (0, 0))
    if adoption.head is not None and adoption.spec.nms is not None:
        candidates = source_candidates(raw, adoption.head, adoption.spec.nms, placement)
    golden = Golden(frames, answers, candidates, sensitivity=noise)
    file = without_plugin(path) if adoption.plugin else onnx.load(path, load_external_data=False)
    names = tuple(value.name for value in file.graph.output)
    return golden, RawOutputs(names, stacked(raw), adoption.head, placement)


def stacked(raw: Sequence[Sequence[Array]]) -> list[Array]:
    """Raw outputs of each frame as arrays with the batch first; empty where their shapes differ between frames."""
    return [
        np.stack(arrays) if len({array.shape for array in arrays}) == 1 else np.zeros(0)
        for arrays in zip(*raw, strict=True)
    ]


def by_frame(raw: Sequence[Array]) -> list[list[Array]]:
    """Raw outputs of each frame, without the batch."""
    return [[array[row] for array in raw] for row in range(len(raw[0]))]


def relative_difference(expected: Array, actual: Array) -> float:
    """The largest absolute difference, relative to the largest expected value."""
    return float(np.abs(expected - actual).max()) / max(float(np.abs(expected).max()), 1e-12)


def relative_mean(expected: Array, actual: Array) -> float:
    """The mean absolute difference, relative to the largest expected value."""
    return float(np.abs(expected - actual).mean()) / max(float(np.abs(expected).max()), 1e-12)


def rounds(model: onnx.ModelProto) -> bool:
    """True if the graph quantizes values at run time."""
    return any(node.op_type in ROUNDING for part in walk(model.graph) for node in part.node)


def raw_names(model: onnx.ModelProto, outputs: Sequence[str]) -> dict[int, str]:
    """The names in a graph of the contract of the raw outputs of its network, by their places.

    Empty if the network selects among its own values: then equal boxes may come in another order.
    """
    if any(node.op_type in SELECTING for node in model.graph.node if not node.name.startswith("post/")):
        return {}
    made = {name for node in model.graph.node for name in node.output}
    found = {}
    for place, name in enumerate(outputs):
        chosen = next((n for n in (f"{RENAMED}{name}", name) if n in made), None)
        own = {value.name for value in model.graph.output}
        if chosen is not None and chosen not in own:
            found[place] = chosen
    return found


def source_sensitivity(
    path: Path,
    adoption: Adoption,
    frames: npt.NDArray[np.uint8],
    tensors: npt.NDArray[np.float32],
    raw: list[list[Array]],
) -> Sensitivity:
    """The largest change of the file's answers when its input changes by one rounding step.

    The steps are one unit in the last place of every value, up or down, and one level of 255 in `SHARE` of the pixels.
    """
    rng = np.random.default_rng(0)
    worst = Sensitivity()
    for trial in range(2 * TRIALS):
        if trial % 2:
            moved = network_pixels(_shaken(frames, rng), adoption)
        else:
            away = np.where(rng.random(tensors.shape) < 0.5, -np.inf, np.inf).astype(np.float32)
            moved = np.nextafter(tensors, away)
        found = _change(raw, source_raw(path, adoption, moved), adoption)
        worst = Sensitivity(*map(max, astuple(worst), astuple(found)))
    return worst


def _shaken(frames: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The frames with a few values one level higher or lower."""
    if frames.ndim == 3:  # nv12: the last row holds no pixels
        return np.concatenate([_shaken(frames[:, :-1, :, None], rng)[..., 0], frames[:, -1:]], axis=1)
    shaken = frames.reshape(len(frames), -1).astype(np.int16)
    count = max(FEWEST, round(SHARE * shaken.shape[1]))
    for row in shaken:
        row[rng.integers(0, len(row), count)] += rng.choice(np.array([-1, 1], np.int16), count)
    return shaken.clip(0, 255).astype(np.uint8).reshape(frames.shape)


def _change(raw: list[list[Array]], other: list[list[Array]], adoption: Adoption) -> Sensitivity:
    pairs = [
        (a.astype(np.float64), b)
        for a, b in zip(stacked(raw), stacked(other), strict=True)
        if a.shape == b.shape and a.size and a.dtype.kind == "f"
    ]
    noise = max((relative_difference(a, b) for a, b in pairs), default=0.0)
    mean = max((relative_mean(a, b) for a, b in pairs), default=0.0)
    if adoption.segmenter is not None or adoption.spec.task == "translate":
        return Sensitivity(noise, mean)
    if adoption.head is None or adoption.spec.nms is None:
        left, right = (probabilities(stacked(arrays)[0].reshape(len(raw), -1)) for arrays in (raw, other))
        return Sensitivity(noise, mean, float(np.abs(left - right).max()))
    score = box = 0.0
    for ours, theirs in zip(raw, other, strict=True):
        change = _of_frame(ours, theirs, adoption.head, adoption.spec.nms)
        score, box = max(score, change[0]), max(box, change[1])
    return Sensitivity(noise, mean, score, box)


def _of_frame(
    ours: list[Array], theirs: list[Array], head: DetectionHead, nms: NmsSpec
) -> tuple[float, float]:
    """Largest changes of the scores and boxes of the pairs that may enter NMS in one frame."""
    boxes, scores = head.plain(ours)
    other_boxes, other_scores = head.plain(theirs)
    if len(boxes) != len(other_boxes):
        return 0.0, 0.0
    near = np.flatnonzero(relative_ranks(ours, head, len(boxes), nms) >= 1)
    flat = scores[near].ravel()
    best = np.argsort(-flat, kind="stable")[: nms.candidates]
    best = best[(flat[best] >= nms.score_floor) | (np.arange(len(best)) < BEST)]
    rows = near[best // scores.shape[1]]
    labels = best % scores.shape[1]
    score = score_differences(scores[rows, labels], other_scores[rows, labels]).max(initial=0)
    box = box_differences(other_boxes[rows], boxes[rows], _SMALLEST_SIDE).max(initial=0)
    return float(score), float(box)
