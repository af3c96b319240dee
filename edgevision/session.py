"""One engine, opened: frames in, the contract's arrays out."""

from __future__ import annotations

import abc
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from edgevision.bundle import Bundle
from edgevision.errors import EngineError, MissingExtraError, UsageError
from edgevision.image import Frame, fit_frame
from edgevision.results import Outputs, Result, results_from_outputs
from edgevision.spec import ModelSpec

Frames = npt.NDArray[np.uint8]
"""uint8 ``[B,H,W,3]``, BGR, of the model's own size."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How an engine is to be opened. None leaves the choice to the graph or to the engine."""

    iou_threshold: float | None = None
    """Overrides the suppression threshold that the graph carries (an engine that bakes it in refuses)."""
    score_floor: float | None = None
    """Overrides the score under which the graph answers 0."""
    threads: int | None = None
    """CPU threads for one call; None: every core that the process may use."""
    spin: bool = True
    """Let idle CPU threads spin for their next task: lower latency, and a core that other stages cannot use."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What runs the graph: a figure without this is not comparable."""

    engine: str
    library: str
    """Name and version."""
    device: str
    providers: tuple[str, ...] = ()


class Session(abc.ABC):
    """The base of every engine: it holds all checks, so that an engine's file holds only the engine.

    Calls from several threads are safe unless an engine's docstring says otherwise. Use as a context manager, or
    call `close`.
    """

    def __init__(self, spec: ModelSpec, info: EngineInfo) -> None:
        self.spec = spec
        self.info = info

    @abc.abstractmethod
    def _infer(self, frames: Frames) -> Outputs:
        """Run a batch that has been checked; arrays in the order of `spec.outputs`, owned by the caller."""

    def infer(self, frames: Frames) -> Outputs:
        """Run a batch uint8 ``[B,H,W,3]``; returns one array for each of `spec.outputs`, owned by the caller.

        Raises `UsageError` for frames of another shape, dtype or batch size than the spec's, `EngineError` if the
        engine fails or answers with other shapes than the contract's.
        """
        self._check_frames(frames)
        outputs = self._infer(frames)
        for tensor, array in zip(self.spec.outputs, outputs, strict=True):
            if array.shape != (len(frames), *tensor.shape[1:]) or array.dtype != tensor.dtype:
                raise EngineError(
                    f"{self.info.engine} answered {tensor.name} as {array.dtype} {list(array.shape)};"
                    f" the contract says {tensor.dtype} {list(tensor.shape)} with batch {len(frames)}"
                )
        return outputs

    def __call__(self, frames_bgr: Sequence[Frame], *, threshold: float = 0.25) -> list[Result]:
        """Camera frames of any size to results in their own pixels; one call, one batch.

        A batch smaller than the smallest that the graph takes is filled up with copies of its last frame.
        """
        if not frames_bgr:
            return []
        width, height = self.spec.frames.size_wh
        count = max(len(frames_bgr), self.spec.frames.batch.min)
        batch = np.empty((count, height, width, 3), np.uint8)
        placements = [
            fit_frame(frame, self.spec.frames, out=batch[row])[1] for row, frame in enumerate(frames_bgr)
        ]
        batch[len(frames_bgr) :] = batch[len(frames_bgr) - 1]
        return results_from_outputs(self.spec, self.infer(batch), placements, threshold=threshold)

    def close(self) -> None:  # noqa: B027  # most engines hold nothing that needs it
        """Give back what the engine holds; the session cannot be used afterwards."""

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_frames(self, frames: Frames) -> None:
        batch, (width, height) = self.spec.frames.batch, self.spec.frames.size_wh
        fits = frames.ndim == 4 and frames.shape[1:] == (height, width, 3) and frames.dtype == np.uint8
        if not fits or not batch.min <= len(frames) <= batch.max:
            raise UsageError(
                f"{self.spec.name} takes frames of uint8 [{batch},{height},{width},3];"
                f" received {frames.dtype} {list(frames.shape)}"
            )


class ReplaySession(Session):
    """The fake to test with: answers recorded outputs in a circle, whatever the frames show.

    `recorded` holds one `Outputs` of batch 1 for each call; a longer batch takes as many, one after another.
    """

    def __init__(self, spec: ModelSpec, recorded: Sequence[Outputs]) -> None:
        if not recorded:
            raise UsageError("ReplaySession needs at least one recorded answer")
        super().__init__(spec, EngineInfo("replay", "edgevision", "recorded"))
        self._recorded = tuple(recorded)
        self._next = 0

    def _infer(self, frames: Frames) -> Outputs:
        rows = []
        for _ in range(len(frames)):
            rows.append(self._recorded[self._next % len(self._recorded)])
            self._next += 1
        return tuple(np.concatenate(arrays) for arrays in zip(*rows, strict=True))


ENGINES = ("onnxruntime", "openvino")
"""Engines in the order in which `open_session` prefers them."""

_EXTRAS = {"onnxruntime": "cpu", "openvino": "openvino"}


def open_session(
    model: Path | str, *, engine: str | None = None, options: SessionOptions | None = None
) -> Session:
    """Open a bundle, or a bare ``.onnx`` file that carries its spec, with an engine.

    `engine` is one of `ENGINES`; without it the first that is installed is taken. Raises `BundleError` or `GraphError`
    for a bad model, `MissingExtraError` if the engine is not installed, `EngineError` if it cannot run the graph.
    """
    if engine is not None and engine not in ENGINES:
        raise UsageError(f"unknown engine {engine!r}; engines: {', '.join(ENGINES)}")
    path = Path(model)
    spec, graph = (None, path) if path.suffix == ".onnx" else _spec_and_graph(path)
    return _open(engine, graph, spec, options or SessionOptions())


def _spec_and_graph(path: Path) -> tuple[ModelSpec, Path]:
    bundle = Bundle.open(path)
    return bundle.spec, bundle.graph_path("float")


def _open(engine: str | None, graph: Path, spec: ModelSpec | None, options: SessionOptions) -> Session:
    for name in ENGINES if engine is None else (engine,):
        try:
            module = importlib.import_module(f"edgevision.engines.{name}")
        except ModuleNotFoundError as error:
            if engine is None and error.name == name:
                continue
            if error.name == name:
                raise MissingExtraError(name, _EXTRAS[name], f"engine {name}") from error
            raise
        session: Session = module.open_graph(graph, spec, options)
        return session
    raise EngineError(f"no engine is installed ({', '.join(ENGINES)}): pip install 'edgevision[cpu]'")


__all__ = [
    "ENGINES",
    "EngineInfo",
    "Frames",
    "ReplaySession",
    "Session",
    "SessionOptions",
    "open_session",
]
