"""Output of classifiers; no detection head, but recognised in the same way."""

from __future__ import annotations

from edgevision.graph.heads.head import SELECTING, NetworkFacts, NetworkOutput

EXPECTED = "one output [B, C]: logits or probabilities"

_VECTOR_NAMES = ("embed", "feat")
_NORMALISING = frozenset(("LpNormalization", "ReduceL2", "ReduceSumSquare"))


def output_classes(output: NetworkOutput) -> int | None:
    """Number of classes of an output ``[B,C]`` or ``[B,C,1,1]``; None for another shape."""
    shape = output.shape
    fits = len(shape) >= 2 and shape[1] is not None and all(length == 1 for length in shape[2:])
    return shape[1] if fits else None


def recognise(facts: NetworkFacts) -> int | None:
    """The number of classes if there is one output ``[B,C]`` or ``[B,C,1,1]``."""
    count = output_classes(facts.outputs[0]) if len(facts.outputs) == 1 else None
    return count if count is not None and facts.allows(count) else None


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with such an output is probably no classifier; None if nothing speaks against it."""
    output = facts.outputs[0]
    if output.shape[1] == 1:
        return "one value is not a choice of classes"
    if facts.tail & SELECTING:
        return "the network selects boxes"
    if facts.tail & _NORMALISING or any(part in output.name.lower() for part in _VECTOR_NAMES):
        return "the output is an embedding"
    return None
