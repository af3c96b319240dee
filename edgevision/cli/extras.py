"""Checks that the packages of an extra are installed, with one error that names the extra."""

from __future__ import annotations

import importlib.util

from edgevision.errors import MissingExtraError

_EXPORT = ("torch", "onnx", "onnxslim", "safetensors", "onnxruntime")
_TRAIN = ("torch", "lightning", "matplotlib", "safetensors", "onnx", "pycocotools")
_ADOPT = ("onnx", "onnxslim", "onnxruntime")
_PIPELINES = ("diffusers", "transformers", "tokenizers")
_QUANTIZE = (
    "onnx",
    "onnxslim",
    "onnxruntime",
    "modelopt",
    "onnx_graphsurgeon",
    "lief",
    "matplotlib",
    "pycocotools",
)


def require_export(purpose: str) -> None:
    """Raise `MissingExtraError` unless checkpoints can be read and graphs written and run."""
    _require(_EXPORT, "export,cpu", purpose)


def can_export() -> bool:
    """True if the packages of `require_export` are installed."""
    return not any(importlib.util.find_spec(package) is None for package in _EXPORT)


def require_pipelines(purpose: str) -> None:
    """Raise `MissingExtraError` unless pipelines of diffusers can be loaded."""
    _require(_PIPELINES, "pipelines", purpose)


def require_text(purpose: str) -> None:
    """Raise `MissingExtraError` unless a text can be split into tokens."""
    _require(("tokenizers",), "text", purpose)


def require_adopt(purpose: str) -> None:
    """Raise `MissingExtraError` unless graphs can be rewritten and run; torch is not needed."""
    _require(_ADOPT, "adopt", purpose)


def require_train(purpose: str) -> None:
    """Raise `MissingExtraError` unless models can be trained and measured."""
    _require(_TRAIN, "train", purpose)


def require_quantize(purpose: str) -> None:
    """Raise `MissingExtraError` unless graphs can be calibrated, rewritten, run and measured."""
    _require(_QUANTIZE, "quantize", purpose)


def require_live(purpose: str) -> None:
    """Raise `MissingExtraError` unless the page can be served."""
    _require(("aiohttp", "prometheus_client"), "live", purpose)


def require_eval(purpose: str) -> None:
    """Raise `MissingExtraError` unless COCO's metrics can be computed."""
    _require(("pycocotools",), "eval", purpose)


def require_compare(purpose: str) -> None:
    """Raise `MissingExtraError` unless rank tests can be computed."""
    _require(("scipy",), "compare", purpose)


def require_loadgen(purpose: str) -> None:
    """Raise `MissingExtraError` unless MLPerf's scenarios can run."""
    _require(("mlperf_loadgen",), "loadgen", purpose)


def can_compare() -> bool:
    """True if the packages of `require_compare` are installed."""
    return importlib.util.find_spec("scipy") is not None


def require_image_metrics(purpose: str) -> None:
    """Raise `MissingExtraError` unless PSNR and SSIM can be computed."""
    _require(("skimage",), "eval", purpose)


def _require(packages: tuple[str, ...], extra: str, purpose: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra, purpose)
