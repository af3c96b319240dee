"""Work for a stand-in engine: a kernel that NVRTC compiles, or else copies on the device.

Both turn frames ``[B,H,W,3]`` into masks ``[B,H,W]``, and the host can compute the same.
"""

from __future__ import annotations

import abc
import ctypes
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgevision.engines.tensorrt import cudart
from edgevision.errors import EngineError

Bytes = npt.NDArray[np.uint8]
MEMCPY_DEFAULT = 4
"""``cudaMemcpyDefault``: CUDA finds the direction from the addresses."""
ROUNDS = 2000
"""Steps of the kernel for each pixel: about as long as copying the frames takes."""
THREADS = 256
TRIMMED = "\0 \n"
SOURCE = b"""
extern "C" __global__ void mask_of(const unsigned char* frames, unsigned char* mask,
                                   unsigned long long pixels, int rounds) {
    unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    unsigned value = frames[3 * i];
    for (int step = 0; step < rounds; ++step) value = (value * 5u + 1u) & 255u;
    mask[i] = (unsigned char)value;
}
extern "C" __global__ void stray(unsigned char* nowhere) { nowhere[threadIdx.x] = 1; }
"""
_LIBRARIES = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so")
_NVRTC: dict[str, tuple[Any, ...]] = {
    "nvrtcCreateProgram": (POINTER(c_void_p), c_char_p, c_char_p, c_int, c_void_p, c_void_p),
    "nvrtcCompileProgram": (c_void_p, c_int, POINTER(c_char_p)),
    "nvrtcGetCUBINSize": (c_void_p, POINTER(c_size_t)),
    "nvrtcGetCUBIN": (c_void_p, c_char_p),
    "nvrtcGetProgramLogSize": (c_void_p, POINTER(c_size_t)),
    "nvrtcGetProgramLog": (c_void_p, c_char_p),
    "nvrtcDestroyProgram": (POINTER(c_void_p),),
}
_DRIVER: dict[str, tuple[Any, ...]] = {
    "cuModuleLoadData": (POINTER(c_void_p), c_char_p),
    "cuModuleGetFunction": (POINTER(c_void_p), c_void_p, c_char_p),
    "cuLaunchKernel": (c_void_p, *(c_uint,) * 7, c_void_p, POINTER(c_void_p), c_void_p),
}


class Work(abc.ABC):
    """What the stand-in engine queues."""

    name: str

    @abc.abstractmethod
    def queue(self, stream: int, frames: int, mask: int, shape: tuple[int, int, int]) -> None:
        """Queue the work for ``shape`` = B, H, W; `frames` and `mask` are device addresses. Raises `EngineError`."""

    @abc.abstractmethod
    def expected(self, frames: Bytes) -> Bytes:
        """The masks of frames ``[B,H,W,3]``, computed on the host."""


class CopyWork(Work):
    """Copies a third of each frame: for machines without NVRTC."""

    name = "copies on the device"

    def queue(self, stream: int, frames: int, mask: int, shape: tuple[int, int, int]) -> None:
        """Queue a copy for each frame."""
        count, height, width = shape
        pixels = height * width
        for row in range(count):
            cudart.loaded_cudart().call(
                "cudaMemcpyAsync",
                mask + row * pixels,
                frames + row * pixels * 3,
                pixels,
                MEMCPY_DEFAULT,
                stream,
            )

    def expected(self, frames: Bytes) -> Bytes:
        """The first third of each frame's bytes."""
        count, height, width = frames.shape[:3]
        return frames.reshape(count, -1)[:, : height * width].reshape(count, height, width)


class KernelWork(Work):
    """A kernel compiled for this GPU."""

    name = "a kernel"

    def __init__(self, sm: int) -> None:
        """Needs a current context. Raises `EngineError` without NVRTC, or if CUDA refuses the kernel."""
        self._driver = _library(("libcuda.so.1",), _DRIVER)
        image = compiled(f"sm_{sm}")
        module = c_void_p()
        _succeeds("cuModuleLoadData", self._driver.cuModuleLoadData(byref(module), image))
        self._mask_of, self._stray = (self._function(module, name) for name in (b"mask_of", b"stray"))
        table = np.arange(256)
        for _ in range(ROUNDS):
            table = (table * 5 + 1) & 255
        self._table = table.astype(np.uint8)

    def queue(self, stream: int, frames: int, mask: int, shape: tuple[int, int, int]) -> None:
        """Queue the kernel."""
        pixels = int(np.prod(shape))
        arguments = (c_void_p(frames), c_void_p(mask), ctypes.c_ulonglong(pixels), c_int(ROUNDS))
        self._launch(self._mask_of, -(-pixels // THREADS), THREADS, stream, arguments)

    def queue_stray(self, stream: int) -> None:
        """Queue a kernel that writes where it must not: the process loses the GPU."""
        self._launch(self._stray, 1, 1, stream, (c_void_p(8),))

    def expected(self, frames: Bytes) -> Bytes:
        """The first channel through a table of 256 values."""
        return self._table[frames[..., 0]]

    def _function(self, module: c_void_p, name: bytes) -> c_void_p:
        function = c_void_p()
        _succeeds("cuModuleGetFunction", self._driver.cuModuleGetFunction(byref(function), module, name))
        return function

    def _launch(
        self, function: c_void_p, blocks: int, threads: int, stream: int, arguments: tuple[Any, ...]
    ) -> None:
        pointers = (c_void_p * len(arguments))(*(ctypes.addressof(each) for each in arguments))
        sizes = (blocks, 1, 1, threads, 1, 1, 0)
        _succeeds(
            "cuLaunchKernel", self._driver.cuLaunchKernel(function, *sizes, c_void_p(stream), pointers, None)
        )


def available_work(sm: int) -> tuple[Work, str | None]:
    """The kernel, or copies and the reason why there is no kernel."""
    try:
        return KernelWork(sm), None
    except EngineError as error:
        return CopyWork(), str(error)


def compiled(architecture: str) -> bytes:
    """The kernels as machine code for an architecture such as "sm_90"; needs no GPU. Raises `EngineError`."""
    nvrtc = _library(_LIBRARIES, _NVRTC)
    program = c_void_p()
    _succeeds(
        "nvrtcCreateProgram", nvrtc.nvrtcCreateProgram(byref(program), SOURCE, b"stand_in.cu", 0, None, None)
    )
    try:
        options = (c_char_p * 1)(f"--gpu-architecture={architecture}".encode())
        status = nvrtc.nvrtcCompileProgram(program, 1, options)
        if status:
            log = _text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
            raise EngineError(
                f"NVRTC cannot compile for {architecture}: {log.decode(errors='replace').strip(TRIMMED)}"
            )
        return _text(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
    finally:
        nvrtc.nvrtcDestroyProgram(byref(program))


def _text(size_of: Any, read: Any, program: c_void_p) -> bytes:
    size = c_size_t()
    _succeeds("a size of NVRTC", size_of(program, byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _succeeds("a text of NVRTC", read(program, buffer))
    return buffer.raw


def _succeeds(name: str, status: int) -> None:
    if status:
        raise EngineError(f"{name} failed with {status}")


def _library(names: tuple[str, ...], signatures: dict[str, tuple[Any, ...]]) -> Any:
    """Load the first of the libraries: from the Python packages of NVIDIA, else the system's."""
    packaged = [
        str(path)
        for folder in map(Path, sys.path)
        for name in names
        for path in sorted(folder.glob(f"nvidia/*/lib/{name}"))
    ]
    for name in (*packaged, *names):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        for function, arguments in signatures.items():
            getattr(library, function).argtypes = arguments
        return library
    raise EngineError(
        f"no {names[0].split('.')[0]} on this machine; for NVRTC: pip install nvidia-cuda-nvrtc"
    )
