"""Reads ``config.json`` beside a checkpoint, as model hubs store it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "config.json"
_LARGEST_BYTES = 1 << 22


def config_beside(checkpoint: Path) -> Mapping[str, Any]:
    """The entries of the file; empty if there is none, or if it is not a JSON object of at most 4 MiB."""
    path = checkpoint.parent / NAME
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_BYTES:
            return {}
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def label_names(config: Mapping[str, Any], class_count: int) -> tuple[str, ...]:
    """The class names in ``id2label`` (transformers) or ``label_names`` (timm); empty unless each class has one."""
    labels = config.get("id2label")
    if isinstance(labels, dict):
        found = [labels.get(str(number)) for number in range(class_count)]
    else:
        listed = config.get("label_names")
        found = list(listed) if isinstance(listed, list) else []
    if len(found) != class_count or not all(isinstance(name, str) for name in found):
        return ()
    return tuple(str(name) for name in found)
