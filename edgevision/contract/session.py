"""Base class of all engines: frames or tensors in, the contract's arrays out."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from edgevision.contract.image import Frame, fit_frame
from edgevision.contract.inputs import Batch, Tensors
from edgevision.contract.layers import EngineProfile
from edgevision.contract.pixels import FramePixels
from edgevision.contract.results import Outputs, Result, results_from_outputs
from edgevision.contract.spec import FrameInput, ModelSpec, Precision
from edgevision.contract.thresholds import THRESHOLD, Threshold
from edgevision.device.names import EXPECTED, PATTERN
from edgevision.errors import EngineError, UsageError
from edgevision.settings.kinds import Choice, Flag, Number, Text
from edgevision.settings.setting import setting

Frames = npt.NDArray[np.uint8]
"""uint8 ``[B,H,W,3]``, BGR, of the model's own size; of the layout nv12 ``[B, H * 3/2 + 1, W]``."""
PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Options for opening an engine. None leaves the choice to the graph or to the engine."""

    iou_threshold: float | None = field(
        default=None,
        metadata=setting(
            Number(0, 1, least_open=True, most_open=True),
            "IoU threshold of NMS; default: as exported.",
            name="iou",
            option="--iou",
        ),
    )
    """Overrides the graph's value; an engine with a built-in value rejects it."""
    score_floor: float | None = None
    """Overrides the score below which the graph returns 0."""
    threads: int | None = None
    """CPU threads per call; None: every core that the process may use."""
    spin: bool = True
    """Let idle CPU threads spin for their next task: lower latency, but one core less for other stages."""
    allow_fallback: bool = field(
        default=False,
        metadata=setting(
            Flag(),
            "With onnxruntime-cuda and onnxruntime-tensorrt: run on the CPU what the GPU cannot run. Default: an error"
            " if that is more than 5 % of the nodes.",
            option="--allow-fallback",
        ),
    )
    precision: Precision | None = field(
        default=None,
        metadata=setting(
            Choice(get_args(Precision)),
            "Graph of the bundle; or the float graph computed in bfloat16 by OpenVINO (bf16), or in TF32 by"
            " onnxruntime-cuda (tf32); default: the fastest verified one, as for the engine.",
            option="--precision",
        ),
    )
    device: str | None = field(
        default=None,
        metadata=setting(
            Text(EXPECTED, PATTERN),
            "Device of the engine; default: the CPU or the first GPU, as the engine needs.",
            option="--device",
            metavar="cpu|cuda:N|dla:N",
        ),
    )
    """Name of a device; see `device.names`."""
    force: bool = field(
        default=False,
        metadata=setting(Flag(), "Run a graph that failed verification.", option="--force"),
    )
    label: str | None = field(
        default=None,
        metadata=setting(
            Text("a name or number of the model's styles"),
            "Style of a model that has several, by name or number; default: as exported.",
            option="--label",
            metavar="STYLE",
        ),
    )
    """Overrides the graph's value; an engine with a built-in value rejects it."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Description of the engine: measurements without it are not comparable."""

    engine: str
    library: str
    """Name and version."""
    device: str
    providers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Details of its operation, one fact each, such as the operators of a provider or the use of a CUDA graph."""
    gpu_index: int = 0
    """Place of the GPU in CUDA's list, for an engine on a GPU."""


class Pending:
    """A batch that an engine has taken."""

    def __init__(self, finish: Callable[[], Outputs]) -> None:
        """`finish` waits for the outputs. It is dropped with the result, so it may hold the frames until then."""
        self._finish: Callable[[], Outputs] | None = finish

    def result(self) -> Outputs:
        """Wait for the outputs, as `Session.infer` returns them. Raises `EngineError`, also when called again."""
        finish, self._finish = self._finish, None
        if finish is None:
            raise EngineError("the result of this batch was already taken")
        return finish()


def aligned_frames(shape: tuple[int, ...]) -> Frames:
    """An array uint8 that begins at a page of memory, not initialized."""
    size = math.prod(shape)
    memory = np.empty(size + PAGE_BYTES, np.uint8)
    begin = -int(memory.__array_interface__["data"][0]) % PAGE_BYTES
    return memory[begin : begin + size].reshape(shape)


class Session(abc.ABC):
    """The base of every engine; it contains all checks.

    Calls from several threads are safe unless an engine's docstring says otherwise. Use it as a context manager, or
    call `close`.
    """

    def __init__(self, spec: ModelSpec, info: EngineInfo) -> None:
        self.spec = spec
        self.info = info
        self.device_ms: float | None = None
        """Time of the last call by the device's own clock, including copies; None for an engine without one."""
        self.precision: Precision | None = None
        """Precision of the graph, if a bundle's manifest states it."""
        self.threshold: Threshold = THRESHOLD
        """Default minimum confidence of a detection: the bundle's operating point, if it has one."""
        self.graph_sha256: str | None = None
        """Hash of the graph that runs, if it belongs to a bundle."""
        self.tokenizers: tuple[Path, ...] = ()
        """Files of the tokenizers, of a bundle whose model takes the tokens of a text."""
        self.coders: Mapping[str, Callable[[], Session]] = {}
        """Openers of the graphs ``encoder`` and ``decoder`` of an autoencoder's bundle; empty for other models."""
        self.selection = ""
        """Engine, graph, and why they were selected, on one line; empty unless `open_session` opened it."""
        self.layer_profile: Callable[[Callable[[Frames], object], Iterable[Frames]], EngineProfile] | None = (
            None
        )
        """Opens the graph again and runs batches with the engine's own profile, and without it by the given function.

        None for an engine without profile.
        """

    @abc.abstractmethod
    def _infer(self, frames: Frames) -> Outputs:
        """Run a checked batch; arrays in the order of `spec.outputs`, owned by the caller."""

    def _infer_tensors(self, tensors: Tensors) -> Outputs:
        """`_infer` for a model that takes no frames; an engine that cannot run one keeps this error."""
        del tensors
        raise EngineError(
            f"{self.info.engine} runs only models that take frames; received {self.spec.name}, of task {self.spec.task}"
        )

    def infer(self, batch: Batch) -> Outputs:
        """Run a batch of `Frames`, or of `Tensors` for a model that takes no frames.

        Returns one array for each of `spec.outputs`, owned by the caller. Raises `UsageError` for inputs of another
        shape, dtype or batch size than the spec's, `EngineError` if the engine fails or returns other shapes than the
        contract's.
        """
        if isinstance(batch, Tensors):
            self._check_tensors(batch)
            return self._checked(self._infer_tensors(batch), len(batch))
        self._check_frames(batch)
        return self._checked(self._infer(batch), len(batch))

    @property
    def in_flight(self) -> int:
        """Batches that `submit` can keep in progress at once. 1: a call has ended when `submit` returns."""
        return 1

    def submit(self, frames: Frames) -> Pending:
        """Give the engine a batch; raises as `infer`.

        Up to `in_flight` batches overlap. One more waits for the oldest. If `frames` is a batch of `new_batch`, its
        content must not change until `Pending.result` returns; other memory is free when `submit` returns.
        """
        outputs = self.infer(frames)
        return Pending(lambda: outputs)

    def _checked(self, outputs: Outputs, count: int) -> Outputs:
        """The outputs of `count` frames; raises `EngineError` if they are not the contract's."""
        for tensor, array in zip(self.spec.outputs, outputs, strict=True):
            if array.shape != (count, *tensor.shape[1:]) or array.dtype != tensor.dtype:
                raise EngineError(
                    f"{self.info.engine} returned {tensor.name} as {array.dtype} {list(array.shape)}; expected"
                    f" {tensor.dtype} {list(tensor.shape)} with batch {count}"
                )
        return outputs

    def new_batch(self, rows: int | None = None) -> Frames:
        """Memory for a batch of up to `rows` frames (None: the graph's maximum), in the layout of `spec.frames`.

        It is what the engine reads fastest: pinned for a discrete NVIDIA GPU, aligned elsewhere. `infer` takes its
        first rows (``batch[:n]``) without copying them on the host. It is freed with its last view; do not use it
        after the session was closed. The content is undefined.
        """
        return aligned_frames(self._batch_shape(rows))

    def _batch_shape(self, rows: int | None) -> tuple[int, ...]:
        return (self.spec.frames.batch.max if rows is None else rows, *self.spec.frames.frame_shape)

    def infer_candidates(self, frames: Frames) -> tuple[Outputs, Outputs] | None:
        """The candidates that enter NMS in a batch, and the outputs of the same call; for verification.

        Candidates are boxes float32 ``[B,K,4]`` in the network's pixels, scores ``[B,K]`` and labels ``[B,K]``, highest
        score first. None if the graph has no NMS, or if the engine returns nothing but the graph's outputs.
        """
        del frames
        return None

    def profile_layers(self, batches: Iterable[Frames]) -> EngineProfile:
        """Run batches with the engine's own profile of its layers, and without it, in turns.

        The first calls are warm-up. Raises `EngineError` if the engine has no profile.
        """
        if self.layer_profile is None:
            raise EngineError(
                f"{self.info.engine} reports no times of layers on {self.info.device}; use --engine onnxruntime,"
                " openvino, tensorrt or tensorrt-rtx"
            )
        return self.layer_profile(self.infer, batches)

    def __call__(
        self, frames: Sequence[Frame | FramePixels], *, threshold: Threshold | None = None
    ) -> list[Result]:
        """Results of camera frames of any size, in their own pixels; one call, one batch.

        Frames are BGR arrays, or in their decoder's format (`FramePixels`). A batch below the graph's minimum is padded
        with copies of its last frame. `threshold` is the minimum confidence of a detection; None: `self.threshold`.
        """
        if isinstance(frames, (str, Path, FramePixels)) or getattr(frames, "ndim", 4) != 4:
            raise UsageError(
                f"a session takes a list of frames, each uint8 [H,W,3] BGR; received {type(frames).__name__}."
                " For one image: session([image])[0]; for files and other forms: edgevision.load(model)(image)"
            )
        if not len(frames):
            return []
        count = max(len(frames), self.spec.frames.batch.min)
        batch = np.empty(self._batch_shape(count), np.uint8)
        placements = [
            fit_frame(frame, self.spec.frames, out=batch[row])[1] for row, frame in enumerate(frames)
        ]
        batch[len(frames) :] = batch[len(frames) - 1]
        used = self.threshold if threshold is None else threshold
        return results_from_outputs(self.spec, self.infer(batch), placements, threshold=used)

    def close(self) -> None:  # noqa: B027  # most engines have nothing to release
        """Release the engine's resources; the session cannot be used afterwards."""

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_frames(self, frames: Frames) -> None:
        batch, shape = self.spec.frames.batch, self.spec.frames.frame_shape
        fits = frames.ndim == len(shape) + 1 and frames.shape[1:] == shape and frames.dtype == np.uint8
        if not fits or not batch.min <= len(frames) <= batch.max:
            raise UsageError(
                f"frames do not fit {self.spec.name}; expected uint8 [{batch},{','.join(map(str, shape))}],"
                f" received {frames.dtype} {list(frames.shape)}{_hint(self.spec.frames, frames)}"
            )

    def _check_tensors(self, tensors: Tensors) -> None:
        given = self.spec.tensors
        wanted = [(t.dtype, (len(tensors), *t.shape)) for t in given.tensors]
        received = [(str(array.dtype), array.shape) for array in tensors.arrays]
        if received != wanted or not given.batch.min <= len(tensors) <= given.batch.max:
            expected = ", ".join(f"{t.name} {t.dtype} {[str(given.batch), *t.shape]}" for t in given.tensors)
            raise UsageError(
                f"inputs do not fit {self.spec.name}; expected {expected}; received {_described(tensors.arrays)}"
            )
        for tensor, array in zip(given.tensors, tensors.arrays, strict=True):
            if tensor.limit and not (array.min() >= 0 and array.max() < tensor.limit):
                raise UsageError(
                    f"{tensor.name} of {self.spec.name} is {array.min()} to {array.max()}; expected 0 to"
                    f" {tensor.limit - 1}"
                )


def _described(arrays: Iterable[npt.NDArray[Any]]) -> str:
    return ", ".join(f"{array.dtype} {list(array.shape)}" for array in arrays)


def _hint(expected: FrameInput, frames: Frames) -> str:
    """What to do about frames of the other layout, or without the row of the colour; else empty."""
    width, height = expected.size_wh
    if expected.layout == "bgr":
        planes = frames.ndim == 3 and frames.shape[2] == width
        return "; frames of the layout nv12 need a bundle exported with --layout nv12" if planes else ""
    if frames.shape[1:] == (height, width, 3):
        return "; for BGR arrays call the session itself, which converts them: session(frames)"
    if frames.shape[1:] == (height * 3 // 2, width):
        return "; the last row, matrix and range of the frame's colour, is missing (edgevision.contract.nv12)"
    return ""


class ReplaySession(Session):
    """A fake session for tests: replays recorded outputs in a cycle, whatever the frames show.

    `recorded` contains one `Outputs` of batch 1 per call; a longer batch takes several in order.
    """

    def __init__(self, spec: ModelSpec, recorded: Sequence[Outputs]) -> None:
        if not recorded:
            raise UsageError("ReplaySession received no recorded outputs; expected at least one")
        super().__init__(spec, EngineInfo("replay", "edgevision", "recorded"))
        self._recorded = tuple(recorded)
        self._next = 0

    def _infer(self, frames: Frames) -> Outputs:
        rows = []
        for _ in range(len(frames)):
            rows.append(self._recorded[self._next % len(self._recorded)])
            self._next += 1
        return tuple(np.concatenate(arrays) for arrays in zip(*rows, strict=True))
