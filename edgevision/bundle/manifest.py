"""The manifest of a bundle: the content of ``bundle.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgevision.bundle.entries import CoderEntry, FileEntry, GraphEntry
from edgevision.bundle.operating_point import SCHEMA as POINT_SCHEMA
from edgevision.bundle.operating_point import OperatingPoint
from edgevision.contract.spec import FRAMES_SCHEMA, ModelSpec
from edgevision.errors import BundleError
from edgevision.storage.codec import json_from_dataclass, json_text, newer_schema

SCHEMA = 4
"""Version of the manifest: that of its spec, 3 for a bundle with several graphs, 4 with an encoder and a decoder."""
PARTS_SCHEMA = 3


@dataclass(frozen=True, slots=True)
class Manifest:
    """Content of ``bundle.json``."""

    edgevision: str
    """The version that wrote the bundle."""
    spec: ModelSpec
    graphs: tuple[GraphEntry, ...]
    golden: FileEntry
    schema: int = FRAMES_SCHEMA
    operating_point: OperatingPoint | None = None
    """Confidence thresholds of the classes; None if they were not measured."""
    computed: tuple[GraphEntry, ...] = ()
    """Records of precisions that engines compute from another graph (`contract.spec.COMPUTED`)."""
    tokenizers: tuple[FileEntry, ...] = ()
    """Of a model that takes the tokens of a text: one for each row, in the format of the library tokenizers."""
    parts: tuple[str, ...] = ()
    """Folders with the bundles of a program's graphs; empty for a bundle with one graph."""
    coders: tuple[CoderEntry, ...] = ()
    """The encoder and the decoder of an autoencoder, whose graphs also run apart."""

    def __post_init__(self) -> None:
        if self.operating_point is not None:
            self.operating_point.check_classes(self.spec.classes)


def manifest_bytes(manifest: Manifest) -> bytes:
    """The file's content."""
    content = json_from_dataclass(manifest)
    for key in ("operating_point", "tokenizers", "parts", "coders"):  # earlier versions do not know them
        if not getattr(manifest, key):
            del content[key]
    for entry in (*content["graphs"], *content["computed"]):
        if not entry["data"]:
            del entry["data"]
    return json_text(content).encode()


def check_schema(file: Path, data: object) -> None:
    """Raise `BundleError` for the data of a file that a later version wrote."""
    newer = newer_schema(data, SCHEMA)
    if newer is not None:
        raise BundleError(f"{file} has {newer}, or export the bundle again")
    point = data.get("operating_point") if isinstance(data, dict) else None
    newer = newer_schema(point, POINT_SCHEMA)
    if newer is not None:
        raise BundleError(f"{file} has an operating point of {newer}, or export the bundle again")
