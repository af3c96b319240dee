"""Annotated images in a folder."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

import cv2

import edgevision
from edgevision.contract.results import Translation
from edgevision.errors import SinkError
from edgevision.sinks.files.xmp import with_xmp, xmp_packet
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import Sink
from edgevision.sources.image_files import write_image


class ImageFolderSink(Sink):
    """Annotated images in a folder, written atomically.

    PNG and JPEG files of images that a model made state this as XMP. Images keep their names, and their sub-folders
    below `root`; frames of videos and cameras are numbered.
    """

    annotated = True
    parallel = True

    def __init__(self, folder: Path, *, root: Path | None = None, numbered: bool = False) -> None:
        self._folder = folder
        self._root = root
        self._numbered = numbered
        self._made = not folder.exists()
        probe_folder(folder)

    def write(self, processed: FrameResult) -> None:
        """Encode the frame's image."""
        path = self._folder / self.name(processed.frame.source, processed.frame.index)
        edit = _marked if isinstance(processed.result, Translation) else bytes
        write_image(path, processed.frame.image_bgr, edit)
        self.written += 1

    @property
    def public_name(self) -> str:
        """The folder."""
        return str(self._folder)

    def name(self, source: str, index: int) -> Path:
        """The file's name within the folder."""
        path = Path(source)
        if self._numbered:
            stem = re.sub(r"[^\w.-]+", "_", path.stem)
            return Path(f"{stem}_{index:06d}.jpg")
        inner = path.relative_to(self._root) if self._root is not None else Path(path.name)
        return inner if cv2.haveImageWriter(inner.name) else inner.with_name(inner.name + ".png")

    def close(self) -> None:
        """Remove the folder if this sink made it and wrote nothing, as in a run that failed."""
        if self._made and not self.written:
            with contextlib.suppress(OSError):  # another program wrote into it
                self._folder.rmdir()


def _marked(data: bytes) -> bytes:
    """The file of an image that a model made from another."""
    software = f"edgevision {edgevision.__version__}"
    return with_xmp(data, xmp_packet("compositeWithTrainedAlgorithmicMedia", software))


def probe_folder(folder: Path) -> None:
    """Create the folder and a temporary file in it, so that write errors appear before the work begins."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SinkError(f"cannot write to folder {folder}: {error.strerror}") from error
