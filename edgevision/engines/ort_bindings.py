"""Tensors that stay in a provider's memory, and the copies between them and the host."""

from __future__ import annotations

import abc
import logging
import math
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edgevision.contract.inputs import Arrays
from edgevision.contract.results import Outputs
from edgevision.contract.spec import ModelSpec
from edgevision.engines.pinned import PinnedBatches
from edgevision.engines.tensorrt.cuda import CudaStream, use_device
from edgevision.errors import EngineError, MissingExtraError

LOG = logging.getLogger(__name__)


class Transfers(abc.ABC):
    """Copies the inputs and outputs of one session."""

    @abc.abstractmethod
    def send(self, array: npt.NDArray[Any], target: ort.OrtValue) -> None:
        """Copy an input to a tensor of its shape; the tensor holds it when this returns."""

    @abc.abstractmethod
    def receive(self, sources: Sequence[ort.OrtValue]) -> Outputs:
        """The tensors' content in host memory, which the next call may overwrite."""

    def close(self) -> None:  # noqa: B027  # ONNX Runtime's copies hold nothing
        """Release memory and stream; may be called twice."""


class OrtTransfers(Transfers):
    """ONNX Runtime's own copies: for any provider."""

    def send(self, array: npt.NDArray[Any], target: ort.OrtValue) -> None:
        """Copy through pageable memory."""
        target.update_inplace(np.ascontiguousarray(array))

    def receive(self, sources: Sequence[ort.OrtValue]) -> Outputs:
        """Views of tensors on the CPU, new arrays of others."""
        return tuple(value.numpy() for value in sources)


class PinnedTransfers(Transfers):
    """Copies through pinned memory in a stream of its own, with one wait in each direction."""

    def __init__(self, gpu_index: int, pinned: PinnedBatches) -> None:
        """Raises `MissingExtraError` or `EngineError` if CUDA cannot be called."""
        self._gpu_index = gpu_index
        self._pinned = pinned
        use_device(gpu_index)
        self._stream = CudaStream()
        self._give_back = weakref.finalize(self, self._stream.close)
        self._give_back.atexit = False
        self._staging: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        self._landing: npt.NDArray[np.uint8] = np.empty(0, np.uint8)

    def send(self, array: npt.NDArray[Any], target: ort.OrtValue) -> None:
        """Frames in a batch of `pinned` are not copied on the host."""
        use_device(self._gpu_index)
        source = self._pinned.pointer_of(array)
        if source is None:
            self._staging = self._grown(self._staging, array.nbytes)
            np.copyto(self._staging[: array.nbytes].view(array.dtype).reshape(array.shape), array)
            source = _address(self._staging)
        self._stream.copy_to_device(target.data_ptr(), source, array.nbytes)
        # The provider runs in another stream.
        self._stream.synchronize()

    def receive(self, sources: Sequence[ort.OrtValue]) -> Outputs:
        """Views of one pinned block."""
        use_device(self._gpu_index)
        sizes = [math.prod(value.shape()) * np.dtype(_dtype(value)).itemsize for value in sources]
        begins = [0]
        for size in sizes:
            begins.append(begins[-1] + -(-size // ALIGNMENT) * ALIGNMENT)
        self._landing = self._grown(self._landing, begins[-1])
        found = []
        for value, begin, size in zip(sources, begins, sizes, strict=False):
            self._stream.copy_to_host(_address(self._landing) + begin, value.data_ptr(), size)
            found.append(self._landing[begin : begin + size].view(_dtype(value)).reshape(value.shape()))
        self._stream.synchronize()
        return tuple(found)

    def close(self) -> None:
        """Release memory and stream; pinned memory is freed with its last view."""
        self._give_back()
        self._staging = self._landing = np.empty(0, np.uint8)

    def _grown(self, block: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
        return block if block.nbytes >= size else self._pinned.new((size,))


ALIGNMENT = 64
"""Of the outputs in a pinned block, in bytes."""
_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
}
"""The contract's types, as `OrtValue.data_type` names them."""


class Binding:
    """Input and output tensors of one batch size. They stay, because a captured graph holds their addresses."""

    def __init__(
        self,
        inference: ort.InferenceSession,
        spec: ModelSpec,
        count: int,
        device: tuple[str, int],
        transfers: Transfers,
    ) -> None:
        """`device` is the name and index of the provider's memory, as `OrtValue` takes them."""
        self.io = inference.io_binding()
        self._transfers = transfers
        make = ort.OrtValue.ortvalue_from_shape_and_type
        self._inputs = []
        for tensor in spec.inputs:
            shape = (count, *tensor.shape[1:])
            self._inputs.append(make(shape, np.dtype(tensor.dtype).type, *device))
            self.io.bind_ortvalue_input(tensor.name, self._inputs[-1])
        self._outputs = []
        for tensor in spec.outputs:
            shape = (count, *tensor.shape[1:])
            self._outputs.append(make(shape, np.dtype(tensor.dtype).type, *device))
            self.io.bind_ortvalue_output(tensor.name, self._outputs[-1])

    def send(self, arrays: Arrays) -> None:
        """Copy a batch to the inputs."""
        for array, target in zip(arrays, self._inputs, strict=True):
            self._transfers.send(array, target)

    def receive(self) -> Outputs:
        """The outputs of the last run, in memory that the next call may overwrite."""
        return self._transfers.receive(self._outputs)


def transfers_of(device: str, gpu_index: int, pinned: PinnedBatches) -> Transfers:
    """Copies through pinned memory for a GPU if CUDA can be called, else ONNX Runtime's."""
    if device == "cuda":
        try:
            return PinnedTransfers(gpu_index, pinned)
        except (MissingExtraError, EngineError) as error:  # slower, and equally right
            LOG.debug("frames and outputs are copied through pageable memory: %s", error)
    return OrtTransfers()


def _address(array: npt.NDArray[np.uint8]) -> int:
    return int(array.__array_interface__["data"][0])


def _dtype(value: ort.OrtValue) -> type[np.generic]:
    return _DTYPES[value.data_type()]
