"""Measures the output noise that groups of operations in FP16 add to a float graph."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from edgevision.contract.inputs import Batch
from edgevision.engines.ort_settings import cpu_session, named_inputs, session_settings
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.quantize.half.groups import Group
from edgevision.quantize.search.sensitivity import Arrays, network_outputs, relative_noise

MOST_MEASUREMENTS = 48
"""Limit on the graphs that `noise_of_groups` runs."""

NOTICED = 0.02
"""Share of all kinds' noise below which a block of groups is not divided further."""


class NoiseMeter:
    """Compares FP16 graphs with the float graph on a few batches.

    TopK inside the network keeps the selection of the float graph: two equal scores in another order move whole rows of
    the output, which is no error. Noise is `sensitivity.relative_noise`, or infinite if an output is not finite.
    """

    def __init__(self, model: onnx.ModelProto, batches: Sequence[Batch], threads: int | None) -> None:
        self._batches = batches
        self._threads = threads
        self._outputs = network_outputs(model)
        self._selected = tuple(node.output[1] for node in model.graph.node if _selects(node))
        self._squashed = any(
            node.op_type == "Sigmoid" and node.name.startswith("post/") for node in model.graph.node
        )
        found = self._run(model, [{} for _ in batches], (*self._outputs, *self._selected))
        count = len(self._outputs)
        self._reference: list[Arrays] = [answers[:count] for answers in found]
        self._choices = [dict(zip(self._selected, answers[count:], strict=True)) for answers in found]

    def noise(self, half: onnx.ModelProto) -> float:
        """The noise of a graph with FP16 nodes, with emulated FP16 rounding."""
        graph = with_selection_as_input(emulated_half(half), self._selected)
        noise = relative_noise(
            self._reference, self._run(graph, self._choices, self._outputs), squashed=self._squashed
        )
        return noise if math.isfinite(noise) else math.inf

    def _run(
        self,
        model: onnx.ModelProto,
        choices: Sequence[dict[str, npt.NDArray[np.float32]]],
        outputs: Sequence[str],
    ) -> list[Arrays]:
        graph = onnx.ModelProto()
        graph.CopyFrom(model)
        del graph.graph.output[:]
        for name in outputs:
            kind = TensorProto.INT64 if name in self._selected else TensorProto.FLOAT
            graph.graph.output.append(helper.make_tensor_value_info(name, kind, None))
        session = cpu_session(graph.SerializeToString(), session_settings(self._threads))
        with np.errstate(all="ignore"):
            return [
                session.run(list(outputs), {**named_inputs(session, frames), **chosen})
                for frames, chosen in zip(self._batches, choices, strict=True)
            ]


def with_selection_as_input(model: onnx.ModelProto, selected: Sequence[str]) -> onnx.ModelProto:
    """A copy in which the indices called `selected` are inputs, and TopK only gathers their values."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    written = []
    for node in copy.graph.node:
        if node.op_type == "TopK" and node.output[1] in selected:
            axis = next((a.i for a in node.attribute if a.name == "axis"), -1)
            name = node.output[1]
            copy.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, None))
            inputs = [node.input[0], name]
            node = helper.make_node("GatherElements", inputs, [node.output[0]], name=node.name, axis=axis)
        written.append(node)
    del copy.graph.node[:]
    copy.graph.node.extend(written)
    return copy


def noise_of_groups(
    groups: Sequence[Group], noise_of: Callable[[Sequence[Group]], float]
) -> dict[str, float]:
    """The noise that each group adds if it alone is FP16; `noise_of` measures it for a block of groups.

    Alone, because the operations of a chain need FP32 together: a single one in FP32 removes no noise if the next one
    rounds the value. Groups of a kind are measured together first. Then the block with the most noise is halved and
    both halves are measured, until it is one group, adds less than `NOTICED` of all noise, or `MOST_MEASUREMENTS`
    graphs were run. Groups of an undivided block share its value equally.
    """
    count = itertools.count()

    def measured(block: Sequence[Group]) -> tuple[float, int, Sequence[Group]]:
        return -noise_of(block), next(count), block

    kinds = {group.kind: [g for g in groups if g.kind == group.kind] for group in groups}
    waiting = [measured(block) for block in kinds.values()]
    whole = -sum(noise for noise, _, _ in waiting)
    heapq.heapify(waiting)
    found: dict[str, float] = {}
    while waiting:
        negative, number, block = heapq.heappop(waiting)
        if len(block) == 1 or -negative < NOTICED * whole or number + 2 >= MOST_MEASUREMENTS:
            found |= {group.name: -negative / len(block) for group in block}
            continue
        middle = len(block) // 2
        for half in (block[:middle], block[middle:]):
            heapq.heappush(waiting, measured(half))
    return found


def _selects(node: onnx.NodeProto) -> bool:
    return node.op_type == "TopK" and not node.name.startswith("post/") and bool(node.output[1])
