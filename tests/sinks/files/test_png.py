"""Text in PNG files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from edgevision.errors import SinkError, UsageError
from edgevision.sinks.files.png import XMP_KEYWORD, png_bytes, text_of, with_text, write_png
from edgevision.sinks.files.xmp import with_xmp, xmp_packet

IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
ENTRIES = {"Software": "edgevision 1", "edgevision:label": "3 drei Äpfel", XMP_KEYWORD: "<x/>"}


def test_entries_come_back_and_pixels_stay() -> None:
    png = png_bytes(IMAGE, ENTRIES)
    assert text_of(png) == ENTRIES
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), IMAGE)
    assert text_of(png_bytes(IMAGE, {})) == {}


def test_chunks_are_those_of_the_standard() -> None:
    """Literal bytes: tEXt is keyword, 0, Latin-1; iTXt is keyword, 0, not compressed, no language, UTF-8."""
    png = png_bytes(IMAGE, ENTRIES)
    text = b"Software\0edgevision 1"
    assert (
        struct.pack(">I", len(text)) + b"tEXt" + text + struct.pack(">I", zlib.crc32(b"tEXt" + text)) in png
    )
    assert b"iTXtedgevision:label\0\0\0\0\0" + "3 drei Äpfel".encode() in png
    assert b"iTXtXML:com.adobe.xmp\0\0\0\0\0<x/>" in png
    assert png[8:16] == b"\0\0\0\rIHDR"
    assert png.index(b"tEXt") < png.index(b"IDAT")


def test_the_xmp_packet_states_the_digital_source_type() -> None:
    packet = xmp_packet("trainedAlgorithmicMedia", 'edge "vision" <1>')
    body = packet[packet.index("?>") + 2 : packet.rindex("<?xpacket")]
    (description,) = ElementTree.fromstring(body).iter(
        "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
    )
    source = description.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert source == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert description.get("{http://ns.adobe.com/xap/1.0/}CreatorTool") == 'edge "vision" <1>'


def test_xmp_in_other_formats() -> None:
    """Of a JPEG file an APP1 segment, whose length counts its own two bytes; literal bytes."""
    jpeg = cv2.imencode(".jpg", IMAGE)[1].tobytes()
    marked = with_xmp(jpeg, "<x/>")
    assert marked == jpeg[:2] + b"\xff\xe1\x00\x23http://ns.adobe.com/xap/1.0/\0<x/>" + jpeg[2:]
    before, after = (cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in (jpeg, marked))
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(before, after)
    assert text_of(with_xmp(png_bytes(IMAGE, {}), "<x/>")) == {XMP_KEYWORD: "<x/>"}
    assert with_xmp(b"BM...", "<x/>") == b"BM..."


@pytest.mark.parametrize("keyword", ["", "x" * 80, "Größe", "a\0b"])
def test_impossible_keywords(keyword: str) -> None:
    with pytest.raises(ValueError, match="expected 1 to 79 ASCII characters"):
        png_bytes(IMAGE, {keyword: "text"})


def test_damaged_files() -> None:
    png = png_bytes(IMAGE, ENTRIES)
    place = png.index(b"edgevision 1")
    with pytest.raises(ValueError, match="damaged in chunk b'tEXt'"):
        text_of(png[:place] + b"E" + png[place + 1 :])
    with pytest.raises(ValueError, match="ends within a chunk"):
        text_of(png[:-5])
    with pytest.raises(ValueError, match="its signature is missing"):
        with_text(b"JFIF", ENTRIES)
    with pytest.raises(ValueError, match="begins with the chunk IHDR"):
        with_text(png[:8], ENTRIES)


def test_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    write_png(tmp_path / "new" / "a.png", b"bytes")
    assert (tmp_path / "new" / "a.png").read_bytes() == b"bytes"
    with pytest.raises(UsageError, match=r"a\.jpg is not named \*\.png"):
        write_png(tmp_path / "a.jpg", b"bytes")
    with pytest.raises(SinkError, match=r"cannot write .*a\.png"):
        write_png(tmp_path / "new" / "a.png" / "a.png", b"bytes")
