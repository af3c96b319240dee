"""Reads layers and types of an engine from its inspector's JSON, whose format differs between versions."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from edgevision.builder.network import COMPUTED_IN
from edgevision.contract.spec import Precision
from edgevision.engines.tensorrt.manifest import LayerCount

_TYPES = (
    ("float8", r"fp8|float8"),
    ("bfloat16", r"bf16|bfloat16"),
    ("float16", r"fp16|half|float16"),
    ("int8", r"\bint8"),
    ("uint8", r"uint8"),
    ("int32", r"int32"),
    ("int64", r"int64"),
    ("bool", r"bool"),
    ("float32", r"fp32|float32|\bfloat\b"),
)


def engine_layers(text: str) -> tuple[LayerCount, ...]:
    """Layers by kind and by the type of their first output, from the inspector's JSON of a whole engine.

    A layer that consists of a name alone (an engine built without detail) has the type "unknown". Raises `ValueError`
    for other text.
    """
    data = json.loads(text)
    layers = data.get("Layers") if isinstance(data, dict) else None
    if not isinstance(layers, list):
        raise ValueError("the inspector's JSON lists no layers")
    counts = Counter(_kind_and_type(layer) for layer in layers)
    return tuple(LayerCount(kind, precision, n) for (kind, precision), n in counts.most_common())


def delivered(layers: tuple[LayerCount, ...], precision: Precision) -> bool:
    """True if any layer computes in the requested precision, or if the types are unknown."""
    known = {count.precision for count in layers}
    wanted = COMPUTED_IN.get(precision)
    return wanted is None or known <= {"unknown"} or wanted in known


def _kind_and_type(layer: Any) -> tuple[str, str]:
    if not isinstance(layer, dict):
        return "layer", "unknown"
    kind = str(layer.get("LayerType") or layer.get("Type") or "layer").lower()
    outputs = layer.get("Outputs")
    first = outputs[0] if isinstance(outputs, list) and outputs else None
    # The key is "Format/Datatype" until 10, "DataType" or "Format" since 11.
    texts = [str(value) for key, value in first.items() if key != "Name"] if isinstance(first, dict) else []
    return kind, type_in(" ".join(texts))


def type_in(text: str) -> str:
    """The type in a description such as "Row major linear FP16 format"; "unknown" if there is none."""
    lowered = text.lower()
    return next((name for name, pattern in _TYPES if re.search(pattern, lowered)), "unknown")
