"""Loads libcudart and declares the functions that edgevision calls, for CUDA 11.4 to 13.

Prototypes are those of ``cuda_runtime_api.h``; the tests compare them with NVIDIA's headers. All functions below have
the same prototype in every supported version. `AVOIDED` lists functions that changed, and their replacements.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, c_char_p, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from typing import Any

from edgevision.device.cuda_runtime import (
    VARIABLE,
    CudaRuntime,
    apt_command,
    find_cuda_runtime,
    install_command,
    is_jetson,
    pip_package,
    searched_places,
)
from edgevision.errors import EngineError, MissingExtraError

HOST_ALLOC_MAPPED = 2
EVENT_DEFAULT, EVENT_BLOCKING_SYNC = 0, 1
STREAM_NON_BLOCKING = 1
MEMCPY_HOST_TO_DEVICE, MEMCPY_DEVICE_TO_HOST = 1, 2
CAPTURE_MODE_THREAD_LOCAL = 1
ATTRIBUTES = {
    "cudaDevAttrComputeCapabilityMajor": 75,
    "cudaDevAttrComputeCapabilityMinor": 76,
    "cudaDevAttrIntegrated": 18,
    "cudaDevAttrCanMapHostMemory": 19,
}
"""Numbers of ``driver_types.h``, which are the same in CUDA 11 to 13, like the constants above."""

PROPERTIES_BYTES = 4096
"""Room for any version of ``cudaDeviceProp``: 728 bytes in CUDA 11.8, 1032 in 12.9, 1008 in 13.5."""
NAME_BYTES = 256
"""Its first field is ``char name[256]`` in all of them. No other field is read."""

SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cudaSetDevice": (c_int,),
    "cudaGetDeviceProperties": (c_void_p, c_int),
    "cudaDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cudaDriverGetVersion": (POINTER(c_int),),
    "cudaRuntimeGetVersion": (POINTER(c_int),),
    "cudaMemGetInfo": (POINTER(c_size_t), POINTER(c_size_t)),
    "cudaGetLastError": (),
    "cudaGetErrorName": (c_int,),
    "cudaGetErrorString": (c_int,),
    "cudaHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
    "cudaHostGetDevicePointer": (POINTER(c_void_p), c_void_p, c_uint),
    "cudaFreeHost": (c_void_p,),
    "cudaMalloc": (POINTER(c_void_p), c_size_t),
    "cudaFree": (c_void_p,),
    "cudaStreamCreateWithFlags": (POINTER(c_void_p), c_uint),
    "cudaStreamDestroy": (c_void_p,),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaEventCreateWithFlags": (POINTER(c_void_p), c_uint),
    "cudaEventRecord": (c_void_p, c_void_p),
    "cudaEventSynchronize": (c_void_p,),
    "cudaEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cudaEventDestroy": (c_void_p,),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamEndCapture": (c_void_p, POINTER(c_void_p)),
    "cudaGraphInstantiateWithFlags": (POINTER(c_void_p), c_void_p, c_ulonglong),
    "cudaGraphLaunch": (c_void_p, c_void_p),
    "cudaGraphDestroy": (c_void_p,),
    "cudaGraphExecDestroy": (c_void_p,),
}
"""Argument types by function. Handles (``cudaStream_t`` and others) are pointers, enums are ints."""
TEXT_FUNCTIONS = ("cudaGetErrorName", "cudaGetErrorString")
"""These return text; all others return ``cudaError_t``."""

AVOIDED = {
    "cudaGraphInstantiate": "five arguments in CUDA 11, three since 12: cudaGraphInstantiateWithFlags, since 11.4",
    "cudaDeviceProp": "its fields and size differ: cudaDeviceGetAttribute; only the name is read from it",
}
"""Parts of the API that differ between versions, and what replaces them."""

INSUFFICIENT_DRIVER = 35
_REMEDIES = {
    "cudaErrorNoDevice": (
        "`nvidia-smi` must list a GPU; in a container: docker run --gpus all (on a Jetson: --runtime nvidia);"
        " and CUDA_VISIBLE_DEVICES must not be empty"
    ),
    "cudaErrorInvalidDevice": "select a GPU that `edgevision doctor` lists: --device cuda:N",
    "cudaErrorMemoryAllocation": "stop other programs that use the GPU, or use a smaller batch",
    "cudaErrorSystemDriverMismatch": "restart the machine: the driver was updated under a running kernel module",
    "cudaErrorNoKernelImageForDevice": "build the engine for this GPU: edgevision build BUNDLE --rebuild",
}
_LOST = (
    "cudaErrorIllegalAddress",
    "cudaErrorLaunchFailure",
    "cudaErrorHardwareStackError",
    "cudaErrorECCUncorrectable",
)
"""Errors after which every further call in the process fails."""


class Cudart:
    """A loaded library whose functions have declared signatures; every call is checked."""

    def __init__(self, library: Any, found: CudaRuntime) -> None:
        """`library` is what `ctypes.CDLL` returns. Raises `EngineError` if it lacks a function."""
        self.found = found
        self._functions: dict[str, Any] = {}
        for name, arguments in SIGNATURES.items():
            try:
                function = getattr(library, name)
            except AttributeError as error:
                raise EngineError(
                    f"{found.path} has no function {name}; edgevision needs CUDA 11.4 to 13: {install_command()}"
                ) from error
            function.argtypes = arguments
            function.restype = c_char_p if name in TEXT_FUNCTIONS else c_int
            self._functions[name] = function

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function that returns ``cudaError_t``; raises `EngineError` unless it succeeds."""
        status = self._functions[name](*arguments)
        if status:
            raise EngineError(self._message(name, status))

    def forget_error(self) -> None:
        """Clear the error that the calling thread keeps."""
        self._functions["cudaGetLastError"]()

    def version(self, name: str) -> int:
        """The number that a version query writes; 0 if it fails, as in CUDA 11 without a driver."""
        number = c_int()
        return 0 if self._functions[name](ctypes.byref(number)) else number.value

    def _message(self, name: str, status: int) -> str:
        error, text = (self._functions[function](status) for function in TEXT_FUNCTIONS)
        error = (error or b"unknown error").decode(errors="replace")
        text = (text or b"").decode(errors="replace")
        return f"CUDA failed in {name}: {error} ({status}), {text}; {self._remedy(error, status)}"

    def _remedy(self, error: str, status: int) -> str:
        if status == INSUFFICIENT_DRIVER:
            return driver_remedy(self.version("cudaDriverGetVersion"), self._runtime_version(), self.found)
        if error in _LOST:
            return (
                "the process can no longer use the GPU: restart it; if the error returns, check `dmesg` for Xid"
                " errors"
            )
        return _REMEDIES.get(error, "to check driver and libraries: edgevision doctor")

    def _runtime_version(self) -> int:
        return self.version("cudaRuntimeGetVersion") or self.found.series.major * 1000


@functools.cache
def loaded_cudart() -> Cudart:
    """The process's library, loaded at the first call.

    Raises `MissingExtraError` if there is none, `EngineError` if it does not load.
    """
    found = find_cuda_runtime()
    if found is None:
        raise MissingExtraError(
            "CUDA's runtime library",
            "tensorrt",
            "running a TensorRT engine",
            remedy=f"{install_command()} (searched for libcudart in: {', '.join(searched_places())};"
            f" {VARIABLE}=FILE names another file)",
        )
    try:
        library = ctypes.CDLL(str(found.path))
    except OSError as error:
        raise EngineError(
            f"CUDA's runtime library {found.path} does not load: {error}; install one that fits this machine:"
            f" {install_command()}, or set {VARIABLE} to its path"
        ) from error
    return Cudart(library, found)


def driver_remedy(driver: int, runtime: int, found: CudaRuntime) -> str:
    """The fix for a driver older than the library; versions are CUDA's numbers: 12060 for 12.6, 0 for none."""
    if driver == 0:
        return (
            "no NVIDIA driver was found: install it, or in a container: docker run --gpus all"
            " (on a Jetson: --runtime nvidia)"
        )
    what = f"the driver supports CUDA {version_text(driver)}, {found.path} is of CUDA {version_text(runtime)}"
    if driver // 1000 >= runtime // 1000:
        return f"{what}: update the driver"
    if is_jetson():
        return f"{what}: {apt_command(driver // 1000, driver % 1000 // 10)}"
    return f"{what}: pip install {pip_package(driver // 1000)}, or update the driver"


def version_text(number: int) -> str:
    """12060 as "12.6"."""
    return f"{number // 1000}.{number % 1000 // 10}"
