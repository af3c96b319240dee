"""Options of ONNX Runtime's TensorRT provider that follow from a graph's precision.

A graph in INT8 or FP16 holds its types. The provider lets TensorRT follow them in one of two ways, and has no option by
which to choose:

* Strong typing: the network follows the graph. The wheels of 1.18 to 1.26 ask for it if neither ``trt_fp16_enable`` nor
  ``trt_int8_enable`` is set; setting one would let the builder choose types by speed.
* Weak typing: the builder must be allowed each type, or it ends with "Int8 precision has been set for a layer or layer
  output, but int8 is not configured in the builder" (https://github.com/microsoft/onnxruntime/issues/13381). So it is
  with TensorRT 8, and with the wheels since 1.27, which create every network without flags.

How each wheel creates its networks was read off its libonnxruntime_providers_tensorrt.so (the argument of
``createNetworkV2``); ``tests/engines/ort_providers.json`` holds that and the options that each knows.
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
"""Versions of ONNX Runtime between which networks are strongly typed if no precision is enabled."""

_LINKED = re.compile(rb"libnvinfer\.so\.(\d+)|nvinfer_(\d+)\.dll")
_LIBRARIES = ("libonnxruntime_providers_tensorrt.so", "onnxruntime_providers_tensorrt.dll")
_FLAGS: dict[Precision, tuple[str, ...]] = {
    "fp16": ("trt_fp16_enable",),
    "int8": ("trt_fp16_enable", "trt_int8_enable"),
}


def tensorrt_options(graph: Path, precision: Precision | None) -> dict[str, str]:
    """Options for a graph of this precision (None: float); engines and timings are kept apart by all that decides them.

    Raises `EngineError` for FP8 where typing is weak: the provider has no option for it.
    """
    major = linked_tensorrt()
    strong = strongly_typed(ort.__version__, major)
    if precision == "fp8" and not strong:
        raise EngineError(
            f"ONNX Runtime {ort.__version__} builds FP8 graphs with none of its options; take --engine tensorrt, or"
            " --precision int8"
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
    """The file that the provider's TensorRT reads: for INT8 with TensorRT 8 the form of opset 17 beside the graph.

    Raises `EngineError` if it reads none.
    """
    if precision != "int8" or (linked_tensorrt() or 10) >= 10:
        return graph
    try:
        form = Bundle.open(graph.parent).form_path("int8", "opset17")
    except BundleError as error:
        raise EngineError(
            f"TensorRT 8 reads no FP16 scales, and {graph} has no form without: {error}"
        ) from error
    if form is None:
        raise EngineError(
            f"the TensorRT provider of ONNX Runtime {ort.__version__} is built with TensorRT 8, which reads INT8 with"
            f" float32 scales; {graph} has no form of opset 17 beside it; make it:"
            f" edgevision quantize {graph.parent} --target tensorrt"
        )
    return form


def strongly_typed(version: str, tensorrt: int | None) -> bool:
    """True if this ONNX Runtime, with this TensorRT, creates strongly typed networks where no precision is enabled."""
    typed = STRONGLY_TYPED_SINCE <= version_numbers(version) < WEAKLY_TYPED_SINCE
    return typed and (tensorrt is None or tensorrt >= 10)


def linked_tensorrt(folder: Path | None = None) -> int | None:
    """The major version of TensorRT that the provider is linked with; None if it cannot be told.

    It stands in the provider's library: builds for Jetsons link other versions than the wheels of their version do.
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
