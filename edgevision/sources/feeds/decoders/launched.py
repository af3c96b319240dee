"""A hardware decoder of GStreamer, in a process of gst-launch-1.0."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time
from fractions import Fraction

from av.video.frame import VideoFrame

from edgevision.errors import SourceError
from edgevision.sources.feeds.decoders.decoder import Decoder, StreamKind, Unit
from edgevision.sources.feeds.launched import LaunchedProgram, pipeline_words
from edgevision.sources.feeds.y4m import Planes, Y4mReader

WAIT_S = 0.1
"""Maximum wait for a frame after its unit was written."""
FINISH_S = 3.0
PAUSE_S = 0.05
MOST_UNSENT_BYTES = 16 << 20
MOST_HELD = 32
"""More frames than any decoder reorders; older time stamps belong to frames that it lost."""
PIPE_BYTES = 1 << 20
_PARSERS = {"h264": "h264parse", "hevc": "h265parse"}
_DELIMITERS = {"h264": b"\0\0\0\1\x09\xf0" * 2, "hevc": b"\0\0\0\1\x46\x01\x50" * 2}
"""Access unit delimiters after each unit. Without them the parser releases a frame only when the next one begins. It
needs the start of a second delimiter to detect the end of the first.
"""


class LaunchedDecoder(Decoder):
    """Writes units to a pipeline and reads frames from it as YUV4MPEG2, without padded rows.

    Frames lose their time stamps in the pipeline. Each one gets the earliest time stamp that was written and not used.
    The pipeline has no queue. After each unit, `decode` waits until the decoder holds no more frames than before it.
    It therefore does not wait for frames that a decoder reorders, and the other decoders add no age.
    """

    def __init__(self, kind: StreamKind, elements: str, *, ahead: int = 0) -> None:
        """`elements` decode to main memory; with `ahead` frames, for files, the decoder may hold that many."""
        self._kind, self._ahead = kind, ahead
        read_end, self._input = os.pipe()
        self._output, write_end = os.pipe()
        text = (
            f"fdsrc fd={read_end} ! {_PARSERS[kind.codec]} ! {elements} ! video/x-raw,format=I420"
            f" ! y4menc ! fdsink fd={write_end} sync=false"
        )
        try:
            self._program = LaunchedProgram(pipeline_words(text), (read_end, write_end))
        except BaseException:
            os.close(self._input)
            os.close(self._output)
            raise
        finally:
            os.close(read_end)
            os.close(write_end)
        os.set_blocking(self._input, False)
        with contextlib.suppress(OSError, AttributeError):  # above the system's limit
            fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._frames = Y4mReader(self._output)
        self._unsent = bytearray()
        self._stamps: list[int | None] = []
        self._time_base: Fraction | None = None
        self._messages_open = self._input_open = True
        self._ended = False

    def decode(self, unit: Unit, *, wait: bool = True) -> list[VideoFrame]:
        """Write a unit, and return the frames that have arrived."""
        frames = self._received(self._pump(0.0, held=0))
        already = len(self._stamps)
        self._stamps.append(unit.pts)
        del self._stamps[:-MOST_HELD]
        self._time_base = unit.time_base
        self._unsent += unit.data + _DELIMITERS[self._kind.codec]
        if len(self._unsent) > MOST_UNSENT_BYTES:
            raise SourceError("it accepts no more data")
        frames += self._received(self._pump(WAIT_S if wait else 0.0, held=max(already, self._ahead)))
        self.held = len(self._stamps)
        return frames

    def late(self, wait_s: float) -> list[VideoFrame]:
        """Frames that arrive without a new unit: the first ones within `wait_s`."""
        frames = self._received(self._pump(wait_s, held=max(0, len(self._stamps) - 1)))
        self.held = len(self._stamps)
        return frames

    def finish(self) -> list[VideoFrame]:
        """End the stream and read the rest."""
        frames = self._received(self._pump(FINISH_S, held=0, ending=True))
        self.held = len(self._stamps)
        return frames

    @property
    def helper_cpu_s(self) -> float:
        """CPU time of the pipeline's process."""
        return self._program.cpu_s

    def close(self) -> None:
        """End the process at once; it has nothing to save."""
        if self._input_open:
            os.close(self._input)
            self._input_open = False
        if self._output >= 0:
            self._program.close(0.2)
            os.close(self._output)
            self._output = -1

    def _pump(self, wait_s: float, *, held: int, ending: bool = False) -> list[Planes]:
        """Write and read what is ready, and wait up to `wait_s` until at most `held` frames are inside."""
        until_s = time.monotonic() + wait_s
        found: list[Planes] = []
        while not self._ended:
            if ending and self._input_open and not self._unsent:
                os.close(self._input)
                self._input_open = False
            satisfied = len(self._stamps) - len(found) <= held and not self._unsent
            left_s = 0.0 if satisfied else max(0.0, until_s - time.monotonic())
            if not self._exchange(left_s, found) and left_s == 0.0:
                return found
        if not ending:
            raise SourceError(self._program.last_error())
        return found

    def _exchange(self, left_s: float, found: list[Planes]) -> bool:
        """Write and read once; False if nothing was ready in time."""
        # Frames beyond the written units cannot be attributed; they stay unread.
        wanted = len(found) < len(self._stamps)
        reads = [self._output] if wanted else []
        if self._messages_open:
            reads.append(self._program.messages_fd)
        writes = [self._input] if self._unsent and self._input_open else []
        ready, writable, _ = select.select(reads, writes, [], min(left_s, PAUSE_S))
        if self._messages_open and self._program.messages_fd in ready:
            self._messages_open = self._program.drain()
        if writable:
            try:
                del self._unsent[: os.write(self._input, self._unsent)]
            except BrokenPipeError:
                raise SourceError(self._program.last_error()) from None
        arrived = self._output in ready
        self._ended = arrived and not self._frames.receive()
        paused = self._ended or (wanted and not arrived and left_s >= PAUSE_S)
        while len(found) < len(self._stamps) and (frame := self._frames.frame(paused=paused)) is not None:
            found.append(frame)
        return bool(ready or writable)

    def _received(self, frames: list[Planes]) -> list[VideoFrame]:
        return [self._picture(planes) for planes in frames]

    def _picture(self, planes: Planes) -> VideoFrame:
        known = [stamp for stamp in self._stamps if stamp is not None]
        stamp = min(known) if len(known) == len(self._stamps) else self._stamps[0]
        self._stamps.remove(stamp)
        picture = VideoFrame.from_numpy_buffer(planes, self._kind.pixels)
        picture.colorspace, picture.color_range = self._kind.colorspace, self._kind.color_range
        picture.pts = stamp
        if self._time_base is not None:
            picture.time_base = self._time_base
        return picture
