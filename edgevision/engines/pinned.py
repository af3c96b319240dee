"""Batches in pinned host memory, from which a GPU copies without the CPU."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from edgevision.contract.session import Frames
from edgevision.engines.tensorrt.cuda import HostBuffer, use_device


class PinnedBatches:
    """Gives out pinned arrays of one GPU's sessions, and finds the address of frames that lie in one.

    The memory of an array is freed with its last view.
    """

    def __init__(self, gpu_index: int) -> None:
        self._gpu_index = gpu_index
        self._sizes: dict[int, int] = {}
        """Size in bytes by address."""

    def new(self, shape: tuple[int, ...]) -> Frames:
        """An array uint8 of `shape`, not initialized. Raises `EngineError` if CUDA cannot allocate it."""
        use_device(self._gpu_index)
        buffer = HostBuffer(math.prod(shape))
        frames: Frames = buffer.array(np.dtype(np.uint8), shape)
        self._sizes[buffer.pointer] = buffer.size_bytes
        # Views refer to this array, not to the buffer below it.
        weakref.finalize(frames, self._free, buffer).atexit = False
        return frames

    def pointer_of(self, array: npt.NDArray[Any]) -> int | None:
        """The address of an input that lies without gaps in one of the arrays; None for other memory."""
        if not array.flags.c_contiguous:
            return None
        pointer = int(array.__array_interface__["data"][0])
        for start, size in tuple(self._sizes.items()):
            if start <= pointer and pointer + array.nbytes <= start + size:
                return pointer
        return None

    def _free(self, buffer: HostBuffer) -> None:
        self._sizes.pop(buffer.pointer, None)
        buffer.close()
