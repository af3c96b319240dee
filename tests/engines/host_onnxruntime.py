"""Simulates ONNX Runtime's CUDA provider: its tensors lie in the memory of `HostCudart`, and its calls are captured.

Nodes run in the real library on the CPU. Captured calls behave as those of ONNX Runtime 1.18 and later: they belong to
the calling thread, the first call with a new number runs, captures and replays, and a replay reads and writes the
addresses of the capture, whatever is bound.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from edgevision.contract.session import Frames, Session, SessionOptions
from edgevision.contract.spec import (
    METADATA_KEY,
    BatchRange,
    FrameInput,
    ModelSpec,
    Provenance,
    TensorSpec,
)
from edgevision.engines import ort_captures
from edgevision.engines.onnxruntime import CUDA, ON_CUDA, open_on
from edgevision.engines.ort_settings import CPU
from tests.engines.host_cuda import HostCudart

SIDE = 16
REAL = SimpleNamespace(InferenceSession=ort.InferenceSession, OrtValue=ort.OrtValue, IOBinding=ort.IOBinding)
"""The library's own classes."""
REFUSED = (
    "[ONNXRuntimeError] : 1 : FAIL : This session cannot use the graph capture feature as requested by the user as the"
    " model has control flow nodes which can't be supported by CUDAExecutionProvider"
)


def write_channel_graph(path: Path, batch: BatchRange) -> ModelSpec:
    """A graph whose mask is the first channel of its frames."""
    spec = ModelSpec(
        "channel",
        "segment",
        FrameInput((SIDE, SIDE), batch=batch),
        (TensorSpec("mask", "uint8", (-1, SIDE, SIDE)),),
        ("one",),
        Provenance("none", None, "test", "2026-01-01T00:00:00+00:00"),
    )
    count: int | str = batch.max if batch.static else "batch"
    graph = helper.make_graph(
        [helper.make_node("Gather", ["frames", "first"], ["mask"], axis=3)],
        "channel",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [count, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("mask", TensorProto.UINT8, [count, SIDE, SIDE])],
        [onnx.numpy_helper.from_array(np.array(0, np.int64), "first")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, path)
    return spec


class HostOrtValue:
    """Like `OrtValue` in a GPU's memory."""

    host: HostCudart

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        self._shape, self._dtype = list(shape), dtype
        size = max(int(np.prod(shape)) * dtype.itemsize, 1)
        self._pointer = self.host._allocate(self.host.device, size)

    @staticmethod
    def ortvalue_from_shape_and_type(
        shape: Sequence[int],
        element_type: Any,
        device_type: str = "cpu",
        device_id: int = 0,
        vendor_id: int = -1,
        memory_info: Any = None,
    ) -> Any:
        if device_type == "cpu":
            return REAL.OrtValue.ortvalue_from_shape_and_type(shape, element_type, device_type)
        assert device_type == "cuda"
        return HostOrtValue(shape, np.dtype(element_type))

    @staticmethod
    def ortvalue_from_numpy(
        numpy_obj: Any, /, device_type: str = "cpu", device_id: int = 0, vendor_id: int = -1
    ) -> Any:
        if device_type == "cpu":
            return REAL.OrtValue.ortvalue_from_numpy(numpy_obj)
        value = HostOrtValue(numpy_obj.shape, numpy_obj.dtype)
        value.update_inplace(numpy_obj)
        return value

    def update_inplace(self, data: Any) -> None:
        assert data.flags.c_contiguous
        assert list(data.shape) == self._shape
        ctypes.memmove(self._pointer, data.ctypes.data, data.nbytes)

    def numpy(self) -> Any:
        return read(self._pointer, self._shape, self._dtype)

    def data_ptr(self) -> int:
        return self._pointer

    def shape(self) -> list[int]:
        return self._shape

    def data_type(self) -> str:
        names = {"float32": "float", "int32": "int32", "uint8": "uint8"}
        return f"tensor({names[self._dtype.name]})"


def read(pointer: int, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
    """A copy of the bytes at that address."""
    count = int(np.prod(shape))
    return np.frombuffer(ctypes.string_at(pointer, count * dtype.itemsize), dtype).reshape(shape)


class HostBinding:
    """Like `IOBinding`."""

    def __init__(self) -> None:
        self.inputs: dict[str, HostOrtValue] = {}
        self.outputs: dict[str, HostOrtValue] = {}

    def bind_ortvalue_input(self, name: str, ortvalue: Any) -> None:
        self.inputs[name] = ortvalue

    def bind_ortvalue_output(self, name: str, ortvalue: Any) -> None:
        self.outputs[name] = ortvalue


class HostOrt:
    """Takes the library's place, and says how the provider behaves."""

    def __init__(self, host: HostCudart) -> None:
        self.host = host
        self.refuses: dict[str, str] = {}
        """Provider options that a session is refused for, with the message."""
        self.capture_failures: list[str] = []
        """Messages of the next captures."""
        self.breaks = ""
        """The message of every call of a session after a failed capture."""
        self.stale: set[int] = set()
        """Graphs whose replays repeat the outputs of their capture."""
        self.disturbed_by: dict[int, int] = {}
        """Graphs that are spoiled once another one is captured."""
        self.opened: list[dict[str, str]] = []
        """The CUDA provider's options of each session, in order."""
        self.runs: list[str] = []
        """What each call was: plain, captured, replayed; with its number."""

    def install(self, monkeypatch: pytest.MonkeyPatch) -> HostOrt:
        """Take the place of the library's classes."""
        monkeypatch.setattr(HostOrtValue, "host", self.host, raising=False)
        monkeypatch.setattr(ort, "OrtValue", HostOrtValue)
        monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
        monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)
        board = self

        class Session(HostInference):
            def __init__(self, path_or_bytes: Any, sess_options: Any, providers: Any, **kwargs: Any) -> None:
                super().__init__(board, path_or_bytes, sess_options, providers, **kwargs)

        monkeypatch.setattr(ort, "InferenceSession", Session)
        return self


class HostInference:
    """Like `InferenceSession` with the CUDA provider."""

    def __init__(
        self, board: HostOrt, path_or_bytes: Any, sess_options: Any, providers: Any, enable_fallback: int = 1
    ) -> None:
        named: dict[str, dict[str, str]] = dict(
            entry if isinstance(entry, tuple) else (entry, {}) for entry in providers
        )
        self._board, self._on_cuda = board, CUDA in named
        self._inner = REAL.InferenceSession(path_or_bytes, sess_options, providers=[CPU])
        self._captures = threading.local()
        self._broken = False
        options = named.get(CUDA, {})
        if self._on_cuda:
            board.opened.append(dict(options))
            for name, message in board.refuses.items():
                if options.get(name) == "1":
                    raise RuntimeError(message)
        self._capturing = options.get("enable_cuda_graph") == "1"

    def get_providers(self) -> list[str]:
        return [CUDA, CPU] if self._on_cuda else [CPU]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return [SimpleNamespace(ep_name=self.get_providers()[0], get_nodes=lambda: [None])]

    def get_outputs(self) -> Any:
        return self._inner.get_outputs()

    def io_binding(self) -> HostBinding:
        return HostBinding()

    def run(self, output_names: Any, input_feed: Any, run_options: Any = None) -> Any:
        assert not self._capturing, "arrays of the caller would be captured"
        return self._inner.run(output_names, input_feed, run_options)

    def run_with_iobinding(self, iobinding: HostBinding, run_options: Any = None) -> None:
        board = self._board
        if not self._capturing:
            board.runs.append("plain")
            self._compute(addresses(iobinding))
            return
        if self._broken and board.breaks:
            raise RuntimeError(board.breaks)
        number = 0 if run_options is None else int(run_options.get_run_config_entry("gpu_graph_id"))
        kept: dict[int, Any] = self._captures.__dict__.setdefault("kept", {})
        if number == -1:
            board.runs.append("plain")
            self._compute(addresses(iobinding))
        elif number in kept:
            board.runs.append(f"replayed {number}")
            self._replay(number, kept[number])
        else:
            self._capture(number, iobinding, kept)

    def _capture(self, number: int, iobinding: HostBinding, kept: dict[int, Any]) -> None:
        board = self._board
        assert ort_captures.GATE._capturing, "another thread may call CUDA now"
        board.runs.append(f"captured {number}")
        if board.capture_failures:
            self._broken = True
            raise RuntimeError(board.capture_failures.pop(0))
        bound = addresses(iobinding)
        self._compute(bound)
        outputs = [read(*place) for place in bound[1].values()]
        kept[number] = [bound, outputs, False]
        for spoiled, cause in board.disturbed_by.items():
            if cause == number and spoiled in kept:
                kept[spoiled][2] = True

    def _replay(self, number: int, graph: Any) -> None:
        bound, outputs, spoiled = graph
        if spoiled:
            outputs = [255 - array for array in outputs]
        if number in self._board.stale or spoiled:
            for place, array in zip(bound[1].values(), outputs, strict=True):
                ctypes.memmove(place[0], array.tobytes(), array.nbytes)
        else:
            self._compute(bound)

    def _compute(self, bound: Any) -> None:
        inputs, outputs = bound
        found = self._inner.run(list(outputs), {name: read(*place) for name, place in inputs.items()})
        for place, array in zip(outputs.values(), found, strict=True):
            pointer = self._board.host.region(self._board.host.device, place[0], array.nbytes)
            ctypes.memmove(pointer, np.ascontiguousarray(array).tobytes(), array.nbytes)


def addresses(iobinding: HostBinding) -> Any:
    """Address, shape and type of each input and output."""
    return tuple(
        {name: (value._pointer, value._shape, value._dtype) for name, value in side.items()}
        for side in (iobinding.inputs, iobinding.outputs)
    )


def opened(folder: Path, batch: BatchRange, **options: Any) -> Session:
    """A session of `write_channel_graph`."""
    write_channel_graph(folder / "model.onnx", batch)
    return open_on(ON_CUDA, folder / "model.onnx", None, SessionOptions(**options))


def frames_of(count: int, level: int = 0) -> Frames:
    """Frames that belong to that level."""
    random = np.random.default_rng(1000 * count + level)
    return random.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def right(session: Session, count: int, level: int = 0) -> bool:
    """The session's mask is the frames' first channel."""
    frames = frames_of(count, level)
    return np.array_equal(session.infer(frames)[0], frames[..., 0])
