"""Options of ONNX Runtime's TensorRT provider that follow from a graph's precision.

A graph in INT8 or FP16 holds its types. The provider has two ways of applying them, and no option that selects one:

* Strong typing: the network follows the graph. The wheels of 1.18 to 1.26 ask for it if neither ``trt_fp16_enable`` nor
  ``trt_int8_enable`` is set; setting one would let the builder choose types by speed.
* Weak typing: the builder must be allowed each type, or it ends with "Int8 precision has been set for a layer or layer
  output, but int8 is not configured in the builder" (https://github.com/microsoft/onnxruntime/issues/13381). TensorRT
  8, and the wheels since 1.27, create every network without flags and are of this kind.

The typing of each wheel was read from its libonnxruntime_providers_tensorrt.so (the argument of ``createNetworkV2``);
``tests/engines/ort_providers.json`` records it together with the options of each wheel.
"""

from __future__ import annotations

import re
from pathlib import Path

import onnxruntime as ort

from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import Precision
from edgevision.engines.tensorrt.versions import version_numbers
from edgevision.errors import BundleError, EngineError
from edgevision.storage.cache import cache_folder
from edgevision.storage.sha256 import sha256_of_file

STRONGLY_TYPED_SINCE, WEAKLY_TYPED_SINCE = (1, 18), (1, 27)
"""First version with strongly typed networks if no precision is enabled, and the first without them again."""

_LINKED = re.compile(rb"libnvinfer\.so\.(\d+)|nvinfer_(\d+)\.dll")
_LIBRARIES = ("libonnxruntime_providers_tensorrt.so", "onnxruntime_providers_tensorrt.dll")
_FLAGS: dict[Precision, tuple[str, ...]] = {
    "fp16": ("trt_fp16_enable",),
    "int8": ("trt_fp16_enable", "trt_int8_enable"),
}


def tensorrt_options(graph: Path, precision: Precision | None) -> dict[str, str]:
    """Options for a graph of this precision (None: float).

    The cache folder's name contains everything that engines and timings depend on. Raises `EngineError` for FP8 with
    weak typing: the provider has no option for it.
    """
    major = linked_tensorrt()
    strong = strongly_typed(ort.__version__, major)
    if precision == "fp8" and not strong:
        raise EngineError(
            f"ONNX Runtime {ort.__version__} has no option for FP8 graphs; use --engine tensorrt or --precision int8"
        )
    flags = () if strong else _FLAGS.get(precision or "float", ())
    typing = "strong" if strong else "weak"
    name = f"{sha256_of_file(graph)[:16]}-{precision or 'float'}-{typing}"
    folder = cache_folder() / "onnxruntime-tensorrt" / (f"{name}-trt{major}" if major else name)
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        **dict.fromkeys(flags, "1"),
    }


def readable_graph(graph: Path, precision: Precision | None) -> Path:
    """The file for the provider's TensorRT: for INT8 with TensorRT 8, the form of opset 17 next to the graph.

    Raises `EngineError` if there is no such file.
    """
    if precision != "int8" or (linked_tensorrt() or 10) >= 10:
        return graph
    try:
        form = Bundle.open(graph.parent).form_path("int8", "opset17")
    except BundleError as error:
        raise EngineError(
            f"TensorRT 8 does not support FP16 scales, and {graph} has no form without them: {error}"
        ) from error
    if form is None:
        raise EngineError(
            f"the TensorRT provider of ONNX Runtime {ort.__version__} is built with TensorRT 8, which needs float32"
            f" scales for INT8; {graph} has no form of opset 17; create it:"
            f" edgevision quantize {graph.parent} --target tensorrt"
        )
    return form


def strongly_typed(version: str, tensorrt: int | None) -> bool:
    """True if this ONNX Runtime with this TensorRT creates strongly typed networks when no precision is enabled."""
    typed = STRONGLY_TYPED_SINCE <= version_numbers(version) < WEAKLY_TYPED_SINCE
    return typed and (tensorrt is None or tensorrt >= 10)


def linked_tensorrt(folder: Path | None = None) -> int | None:
    """The major version of TensorRT that the provider is linked with; None if unknown.

    It is read from the provider's library, because builds for Jetson link other versions than the wheels do.
    """
    folder = folder or Path(ort.__file__).parent / "capi"
    for name in _LIBRARIES:
        try:
            found = _LINKED.search((folder / name).read_bytes())
        except OSError:
            continue
        if found:
            return int(found[1] or found[2])
    return None
