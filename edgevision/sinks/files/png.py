"""PNG files with text: where an image comes from, and the XMP record that other programs read.

Source: PNG (Third Edition), W3C, sections 5.3 and 11.3.3; XMP Specification, part 3, for the keyword of XMP.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.errors import SinkError, UsageError
from edgevision.storage import atomic

SUFFIX = ".png"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = "XML:com.adobe.xmp"
_LONGEST_KEYWORD = 79


def with_text(png: bytes, entries: Mapping[str, str]) -> bytes:
    """A PNG file with text entries by keyword, before its pixels: tEXt for ASCII, iTXt in UTF-8 for other text.

    Raises `ValueError` if the file is no PNG, or a keyword is not 1 to 79 ASCII characters.
    """
    first = next(_chunks(png), None)
    if first is None or first[0] != b"IHDR":
        raise ValueError("expected a PNG file, which begins with the chunk IHDR")
    end = len(SIGNATURE) + 12 + len(first[1])
    return png[:end] + b"".join(_text_chunk(*entry) for entry in entries.items()) + png[end:]


def text_of(png: bytes) -> dict[str, str]:
    """The entries of a PNG's chunks tEXt and uncompressed iTXt; raises `ValueError` for a file that is no PNG."""
    found = {}
    for kind, data in _chunks(png):
        keyword, _, rest = data.partition(b"\0")
        if kind == b"tEXt":
            found[keyword.decode("latin-1")] = rest.decode("latin-1")
        elif kind == b"iTXt" and rest[:1] == b"\0":
            _language, _translated, text = rest[2:].split(b"\0", 2)
            found[keyword.decode("latin-1")] = text.decode()
    return found


def png_bytes(image: npt.NDArray[np.uint8], entries: Mapping[str, str]) -> bytes:
    """An image as a PNG file with text entries."""
    done, data = cv2.imencode(SUFFIX, image)
    if not done:
        raise SinkError(f"OpenCV cannot encode an image of {image.shape[1]}x{image.shape[0]} as PNG")
    return with_text(data.tobytes(), entries)


def write_png(path: Path, data: bytes) -> None:
    """Write a PNG file, whole or not at all; raises `UsageError` for another suffix, `SinkError` if that fails."""
    if path.suffix != SUFFIX:
        raise UsageError(
            f"output {path} is not named *{SUFFIX}; generated images are PNG files, which keep their values"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_file(path, data)
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}") from error


def _text_chunk(keyword: str, text: str) -> bytes:
    if not keyword.isascii() or not 1 <= len(keyword) <= _LONGEST_KEYWORD or "\0" in keyword + text:
        raise ValueError(
            f"keyword {keyword!r}: expected 1 to {_LONGEST_KEYWORD} ASCII characters, and no zero bytes"
        )
    name = keyword.encode() + b"\0"
    if text.isascii() and keyword != XMP_KEYWORD:
        return _chunk(b"tEXt", name + text.encode())
    # Not compressed; neither a language nor a translated keyword.
    return _chunk(b"iTXt", name + b"\0\0\0\0" + text.encode())


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk; raises `ValueError` for damaged files."""
    if not png.startswith(SIGNATURE):
        raise ValueError("expected a PNG file; its signature is missing")
    place = len(SIGNATURE)
    while place < len(png):
        if place + 12 > len(png):
            raise ValueError("the PNG file ends within a chunk")
        (length,) = struct.unpack_from(">I", png, place)
        kind, data = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        if png[place + 8 + length : place + 12 + length] != struct.pack(">I", zlib.crc32(kind + data)):
            raise ValueError(f"the PNG file is damaged in chunk {kind!r}")
        yield kind, data
        place += 12 + length
