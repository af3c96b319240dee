"""Finds boxes and scores among the outputs of a network, and selects the best boxes by their classes."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.graph.builder import GraphBuilder, ints
from edgevision.graph.heads.head import NetworkFacts, NetworkOutput, take_rows

_BOX_NAMES = ("box", "bbox", "dets", "coord", "loc")
_SCORE_NAMES = ("logit", "score", "label", "cls", "class", "conf", "prob")


@dataclass(frozen=True, slots=True)
class Pair:
    """The outputs ``[B,rows,4]`` and ``[B,rows,columns]`` by position."""

    boxes: int
    scores: int
    rows: int
    columns: int


def pair_of(facts: NetworkFacts, *, classes_first: bool = False) -> Pair | None:
    """Boxes and scores of the same number of rows; scores are ``[B,columns,rows]`` if `classes_first`.

    Of more than two outputs those with such names count. None if the choice is not clear.
    """
    indices = list(range(len(facts.outputs)))
    if len(indices) > 2:
        names = _BOX_NAMES + _SCORE_NAMES
        indices = [i for i in indices if _named(facts.outputs[i], names)]
    lengths = {i: length for i in indices if (length := _lengths(facts.outputs[i])) is not None}
    found = []
    for boxes, (rows, values) in lengths.items():
        for scores, other in lengths.items():
            other_rows, columns = other[::-1] if classes_first else other
            if boxes != scores and values == 4 and rows == other_rows and min(rows, columns) > 0:
                found.append(Pair(boxes, scores, rows, columns))
    if len(found) > 1:
        named = [
            pair
            for pair in found
            if _named(facts.outputs[pair.boxes], _BOX_NAMES)
            and not _named(facts.outputs[pair.scores], _BOX_NAMES)
        ]
        found = named
    return found[0] if len(found) == 1 else None


def _lengths(output: NetworkOutput) -> tuple[int, int] | None:
    if len(output.shape) != 3 or "float" not in output.dtype:
        return None
    _, first, second = output.shape
    return None if first is None or second is None else (first, second)


def _named(output: NetworkOutput, parts: tuple[str, ...]) -> bool:
    return any(part in output.name.lower() for part in parts)


def best_by_class(b: GraphBuilder, scores: str, rows: int) -> tuple[str, str]:
    """The `rows` rows of scores ``[B,N,C]`` with the highest best score, and their indices ``[B,rows]``.

    They contain every one of the best `rows` pairs of a box and a class.
    """
    _, index = b.ops("TopK", [b.reduce_max(scores, 2), ints(rows)], 2, axis=1)
    return take_rows(b, scores, index), index
