"""Opens the sinks of output files and folders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from edgevision.contract.image import Frame
from edgevision.errors import UsageError
from edgevision.sinks.files.images import ImageFolderSink
from edgevision.sinks.files.video import LateVideoSink, VideoSink
from edgevision.sinks.files.video_file import VideoFile
from edgevision.sinks.sink import Sink
from edgevision.sources.frames import Source
from edgevision.sources.image_files import IMAGE_SUFFIXES
from edgevision.sources.opening import ImageSource


def open_picture_sink(output: Path, source: Source, *, resized: bool = False) -> Sink:
    """The sink for annotated frames of a source: a video if `output` ends in .mp4, else a folder of images.

    `resized`: the images may have another size than the frames, as those of image-to-image models.
    Raises `UsageError` if the output would replace its source, or has the suffix of another format.
    """
    suffix = output.suffix.lower()
    if suffix == ".mp4":
        refuse_overwriting(source, output)
        if resized or 0 in source.size_wh:  # 0: a camera without a first frame
            return LateVideoSink(output, source)
        return VideoSink(output, source.size_wh, source.fps, live=source.live)
    if suffix in IMAGE_SUFFIXES or suffix in (".avi", ".mkv", ".mov", ".webm"):
        raise UsageError(
            f"output {output} ends in {suffix}; expected a name that ends in .mp4, or a folder for images"
        )
    if not isinstance(source, ImageSource):
        return ImageFolderSink(output, numbered=True)
    path = source.path or Path(source.name)
    root = path if path.is_dir() else None
    if output.resolve() == (root or path.parent).resolve():
        raise UsageError(
            f"output folder {output} contains the input images, which would be replaced; expected another"
            " folder"
        )
    return ImageFolderSink(output, root=root)


def refuse_overwriting(source: Source, output: Path) -> None:
    """Raise `UsageError` if `output` is the source's file."""
    if source.path is None:
        return
    with contextlib.suppress(OSError):  # one of the two does not exist
        if output.samefile(source.path):
            raise UsageError(
                f"output {output} is the source file, which would be replaced; expected another name"
            )


def write_clip(path: Path, frames: Iterable[Frame], size_wh: tuple[int, int], *, fps: float) -> None:
    """Encode frames without annotation as an .mp4, written atomically; raises `SinkError`."""
    file = VideoFile(path, size_wh, fps)
    try:
        for frame in frames:
            file.write(frame)
        file.close()
    finally:
        file.discard()
