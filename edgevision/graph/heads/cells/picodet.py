"""Head of PicoDet (arXiv 2111.00902) exported without post-processing: two outputs for each level.

Facts: github.com/PaddlePaddle/PaddleDetection, ppdet/modeling/heads/pico_head.py: scores have passed the logistic
function, distances are logits of eight bins a side in strides, and a cell's point is its centre.
configs/picodet/_base_/picodet_320_reader.yml: RGB with ImageNet's normalisation, frames stretched.
"""

from __future__ import annotations

from edgevision.graph.heads.cells.distances import DistanceHead, cell_counts
from edgevision.graph.heads.head import NetworkFacts

EXPECTED = "for each stride 8 to 64 scores [B, n, C] and logits of distances [B, n, 4*bins] of its n cells"
_LEVELS = ((8, 16, 32, 64), (8, 16, 32))


def recognise(facts: NetworkFacts) -> DistanceHead | None:
    """The head if each level has two outputs of as many rows as it has cells, one of them with 4 times `bins` columns.

    Where both may be distances, a Sigmoid marks the scores.
    """
    for strides in _LEVELS:
        found = _of_levels(facts, strides)
        if found is not None:
            return found
    return None


def _of_levels(facts: NetworkFacts, strides: tuple[int, ...]) -> DistanceHead | None:
    counts = cell_counts(facts.size_wh, strides)
    if len(facts.outputs) != 2 * len(strides) or len(set(counts)) != len(counts):
        return None
    scores, distances = [], []
    for count in counts:
        level = [i for i, o in enumerate(facts.outputs) if len(o.shape) == 3 and o.shape[1] == count]
        level.sort(key=lambda i: "Sigmoid" not in facts.end(i))
        if len(level) != 2:
            return None
        scores.append(level[0])
        distances.append(level[1])
    columns = {facts.outputs[i].shape[2] for i in scores}
    values = {facts.outputs[i].shape[2] for i in distances}
    if len(columns) != 1 or len(values) != 1:
        return None
    classes, bins = columns.pop() or 0, values.pop() or 0
    if bins % 4 or bins < 8 or not facts.allows(classes):
        return None
    return DistanceHead(facts.size_wh, strides, classes, bins // 4, 0.5, tuple(scores), tuple(distances))


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    found = recognise(facts)
    if found is None or any("Sigmoid" not in facts.end(i) for i in found.scores):
        return "scores do not pass a Sigmoid"
    if any(facts.end(i) & {"Sigmoid", "Softmax"} for i in found.distances):
        return "distances are not logits"
    return None
