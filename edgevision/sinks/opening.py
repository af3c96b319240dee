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
from edgevision.sources.opening import ImageSource

VIDEO_SUFFIX = ".mp4"
"""The one format of videos."""


def is_video(output: Path) -> bool:
    """True for the name of a video, which ends in .mp4; False for a folder: an existing one, or a name without suffix.

    Raises `UsageError` for any other suffix.
    """
    if output.suffix.lower() == VIDEO_SUFFIX:
        return True
    if output.suffix and not output.is_dir():
        raise UsageError(
            f"output {output} ends in {output.suffix}; expected a name that ends in {VIDEO_SUFFIX}, or a folder for"
            " images: an existing one, or a name without suffix"
        )
    return False


def open_picture_sink(
    output: Path, source: Source, *, video: bool | None = None, resized: bool = False
) -> Sink:
    """The sink for annotated frames of a source: a video, or a folder of images.

    `video` chooses; None: by the name of `output`, as in `is_video`. `resized`: the images may have another size than
    the frames, as those of image-to-image models. Raises `UsageError` if the output would replace
    its source, or for a suffix of another format.
    """
    if is_video(output) if video is None else video:
        refuse_overwriting(source, output)
        if resized or 0 in source.size_wh:  # 0: a camera without a first frame
            return LateVideoSink(output, source)
        return VideoSink(output, source.size_wh, source.fps, live=source.live)
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
