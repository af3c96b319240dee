"""Golden inputs: what verification runs, with the source model's answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgevision.bundle.candidates import (
    Sensitivity,
    SourceCandidates,
    arrays_from_candidates,
    candidates_from_arrays,
)
from edgevision.contract.inputs import Batch, TensorInput, Tensors, arrays_of
from edgevision.contract.results import Outputs
from edgevision.contract.spec import ModelSpec
from edgevision.errors import UsageError

_UNDECIDED, _SENSITIVITY = "source.undecided", "source.sensitivity"


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """A few inputs and the source model's answers: real frames in the graph's format, or noise and labels."""

    inputs: Batch
    answers: Outputs
    candidates: SourceCandidates | None = None
    """Of a detector: what its answers were chosen from."""
    undecided: npt.NDArray[np.bool_] | None = None
    """Of a segmenter, ``[N,H,W]``: pixels whose two best classes are so close that rounding decides."""
    sensitivity: Sensitivity | None = None
    """Of a model that quantizes at run time."""

    @property
    def frames(self) -> npt.NDArray[np.uint8]:
        """The frames, uint8 ``[N,H,W,3]``; raises `UsageError` for a model that takes none."""
        if isinstance(self.inputs, Tensors):
            raise UsageError("the model takes no frames, so its bundle holds none; see `Golden.inputs`")
        return self.inputs


def golden_from_arrays(spec: ModelSpec, arrays: Mapping[str, npt.NDArray[Any]]) -> Golden:
    """Rebuild from the output of `arrays_from_golden`; raises `KeyError` for what is missing."""
    given = tuple(arrays[tensor.name] for tensor in spec.inputs)
    inputs = Tensors(given) if isinstance(spec.input, TensorInput) else given[0]
    answers = tuple(arrays[tensor.name] for tensor in spec.outputs)
    noise = Sensitivity(*map(float, arrays[_SENSITIVITY])) if _SENSITIVITY in arrays else None
    return Golden(inputs, answers, candidates_from_arrays(arrays), arrays.get(_UNDECIDED), noise)


def arrays_from_golden(spec: ModelSpec, golden: Golden) -> dict[str, npt.NDArray[Any]]:
    """Inputs and answers by the names of the graph's tensors, and what belongs to some tasks only."""
    tensors = zip((*spec.inputs, *spec.outputs), (*arrays_of(golden.inputs), *golden.answers), strict=True)
    found = {tensor.name: array for tensor, array in tensors}
    if golden.candidates is not None:
        found |= arrays_from_candidates(golden.candidates)
    if golden.undecided is not None:
        found[_UNDECIDED] = golden.undecided
    if golden.sensitivity is not None:
        found[_SENSITIVITY] = np.array(dataclasses.astuple(golden.sensitivity))
    return found
