"""XMP records in image files, which state that a trained model made the image.

Sources: XMP Specification, part 3 (JPEG and PNG); IPTC Photo Metadata Standard, field "Digital Source Type".
"""

from __future__ import annotations

import struct
from typing import Literal
from xml.sax.saxutils import quoteattr

from edgevision.sinks.files.png import SIGNATURE, XMP_KEYWORD, with_text

DigitalSource = Literal["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"]
"""An image that a trained model made, or one that it made from another image."""
_SOURCES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_JPEG, _APP1, _NAMESPACE = b"\xff\xd8", b"\xff\xe1", b"http://ns.adobe.com/xap/1.0/\0"


def xmp_packet(source: DigitalSource, software: str) -> str:
    """An XMP packet that states IPTC's digital source type and the program."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f" xmp:CreatorTool={quoteattr(software)}"
        f' Iptc4xmpExt:DigitalSourceType="{_SOURCES}{source}"/>'
        "</rdf:RDF></x:xmpmeta>"
        '<?xpacket end="r"?>'
    )


def with_xmp(data: bytes, packet: str) -> bytes:
    """A PNG or JPEG file with an XMP packet; files of other formats are returned unchanged."""
    if data.startswith(SIGNATURE):
        return with_text(data, {XMP_KEYWORD: packet})
    if data.startswith(_JPEG):
        content = _NAMESPACE + packet.encode()
        # The length of a segment counts its own two bytes.
        return _JPEG + _APP1 + struct.pack(">H", len(content) + 2) + content + data[len(_JPEG) :]
    return data
