"""Counts DLA and GPU layers of an engine in the output of TensorRT's inspector."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

_DLA = re.compile(r"\{ForeignNode\[")
"""Name of a layer that runs on a DLA as a whole: "{ForeignNode[Conv_0...Concat_198]}"."""
_TRAFFIC = re.compile(r" (to|from) nvm$| copy finish$")
"""Names of data transfers between DLA and GPU: "images to nvm", "head_3 from nvm", "images copy finish"."""


def dla_note(core: int, inspected: str) -> str:
    """One line: DLA pieces, layers on the GPU, and number of switches between them.

    `inspected` is the inspector's JSON of the whole engine. A DLA piece holds many layers of the network, which the
    inspector does not list; the build report counts those.
    """
    try:
        layers = [_name(layer) for layer in json.loads(inspected)["Layers"]]
    except (ValueError, KeyError, TypeError):
        return f"DLA core {core}: the inspector lists no layers"
    on_dla = [bool(_DLA.match(name)) for name in layers if not _TRAFFIC.search(name)]
    switches = sum(before != after for before, after in itertools.pairwise(on_dla))
    pieces = sum(on_dla)
    return f"DLA core {core}: {pieces} of {len(on_dla)} layers of the engine, {switches} switches between DLA and GPU"


def _name(layer: Any) -> str:
    return str(layer.get("Name", "")) if isinstance(layer, dict) else str(layer)
