"""A session of several graphs: text encoders, the steps of a sampler, and the decoder.

The graphs' sessions do the work. Between them are the weighted sums of the sampler's table (`bundle.program`), in
float32.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from edgevision.bundle.program import Program, ProgramStep
from edgevision.contract.inputs import Tensors
from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, Session
from edgevision.contract.spec import ModelSpec
from edgevision.errors import EngineError

Values = npt.NDArray[np.float32]
PartOpener = Callable[[], Session]
"""Opens the session of one graph."""
SAMPLE, TIMESTEP = "sample", "timestep"
"""Inputs of the denoiser, besides the outputs of the text encoders by their names."""


class ProgramSession(Session):
    """Runs a program; thread-safe, calls run one after another.

    All graphs stay open. If they exceed the memory that the program was planned for, each is opened for its calls only,
    and closed before the next one opens.
    """

    def __init__(self, spec: ModelSpec, program: Program, openers: Mapping[str, PartOpener]) -> None:
        """`openers` has the graphs' names; raises what they raise."""
        self._program, self._openers = program, dict(openers)
        self._open: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._closed = False
        try:
            for graph in program.graphs[: 1 if program.in_turn else None]:
                self._open[graph.name] = self._openers[graph.name]()
            first = self._open[program.graphs[0].name].info
        except BaseException:
            self._release()
            raise
        notes = (*first.notes, program.plan)
        super().__init__(
            spec,
            EngineInfo(first.engine, first.library, first.device, first.providers, notes, first.gpu_index),
        )

    def close(self) -> None:
        """Close the sessions of all graphs."""
        with self._lock:
            self._closed = True
            self._release()

    def _infer(self, frames: Frames) -> Outputs:
        raise EngineError(f"{self.spec.name} takes no frames; received {frames.dtype} {list(frames.shape)}")

    def _infer_tensors(self, tensors: Tensors) -> Outputs:
        noise, tokens = tensors.arrays
        with self._lock:
            if self._closed:
                raise EngineError(f"the session of {self.spec.name} is closed; open it again")
            conditions = self._encoded(tokens)
            sample = self._sampled(noise, conditions)
            with self._session(self._program.decoder.name) as session:
                return session.infer(Tensors((sample,)))

    def _encoded(self, tokens: npt.NDArray[np.int32]) -> dict[str, Values]:
        """Outputs of all text encoders by name; the tokens of several encoders are the rows of each text."""
        found: dict[str, Values] = {}
        for place, graph in enumerate(self._program.encoders):
            rows = tokens if tokens.ndim == 2 else tokens[:, place]
            with self._session(graph.name) as session:
                outputs = session.infer(Tensors((np.ascontiguousarray(rows),)))
                found |= zip((tensor.name for tensor in session.spec.outputs), outputs, strict=True)
        return found

    def _sampled(self, noise: Values, conditions: Mapping[str, Values]) -> Values:
        program = self._program
        sample = np.float32(program.first) * noise[:, 0]
        further = iter(noise[:, place] for place in range(1, noise.shape[1]))
        outputs: list[Values] = []
        with self._session(program.denoiser.name) as session:
            names = [tensor.name for tensor in session.spec.inputs]
            for step in program.steps:
                values = {
                    **conditions,
                    SAMPLE: np.float32(step.input_scale) * sample,
                    TIMESTEP: np.full(len(sample), step.timestep, np.float32),
                }
                outputs += session.infer(Tensors(tuple(values[name] for name in names)))
                sample = next_sample(step, sample, outputs, further)
        return sample

    @contextlib.contextmanager
    def _session(self, name: str) -> Iterator[Session]:
        """The session of a graph; alone in memory if the program's graphs are loaded in turn."""
        if name not in self._open:
            if self._program.in_turn:
                self._release()
            self._open[name] = self._openers[name]()
        yield self._open[name]

    def _release(self) -> None:
        for name in list(self._open):
            self._open.pop(name).close()
        gc.collect()  # engines free their memory with their last reference


def next_sample(step: ProgramStep, sample: Values, outputs: list[Values], noises: Iterator[Values]) -> Values:
    """The sample after a step; takes new noise from `noises` if the step adds some."""
    result = np.float32(step.keep) * sample
    for weight, output in zip(step.outputs, outputs, strict=False):
        if weight:
            result += np.float32(weight) * output
    if step.noise:
        result += np.float32(step.noise) * next(noises)
    return result
