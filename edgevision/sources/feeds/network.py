"""Network feeds through PyAV, with time-outs, time stamps, detection of damage, and changes of the frame size."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Generator

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgevision.errors import SourceError
from edgevision.sources.feeds.decoders.switch import LiveDecoder
from edgevision.sources.feeds.feed import Feed, FeedFrame, Thumbnail, thin_out, thumbnail_of
from edgevision.sources.feeds.picture import Converters, PictureFrame
from edgevision.sources.feeds.skipping import FrameSkipping, stamp_ns
from edgevision.sources.feeds.stream_clock import StreamClock
from edgevision.sources.frames import CaptureClock
from edgevision.sources.options import DecoderSetting

DECODER_THREADS = 2
"""Threads per frame, over its slices; threads over frames would delay as many frames."""
FULL_RANGE = 2
"""AVCOL_RANGE_JPEG: black is 0, not 16."""
EIGHT_BIT_LUMA = frozenset(
    ("gray", "nv12", "nv21", "yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p")
)
LONGEST_SEGMENT_S = 30.0
_ARRIVAL: CaptureClock = "arrival"
_FULL_FROM_LIMITED = np.clip((np.arange(256) - 16) * (255 / 219), 0, 255).round().astype(np.uint8)


class NetworkFeed(Feed):
    """One connection to an address; `read` raises at its end or after `read_timeout_s` without a frame."""

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        transport: str,
        decoder: DecoderSetting = "auto",
    ) -> None:
        self._timeout_s = read_timeout_s
        # Limits the analysis before the first frame; RTSP describes its streams in advance. Without a buffer for the
        # packets of the analysis (fflags nobuffer), FFmpeg drops them, and with them the first key frame.
        options = {"analyzeduration": "1000000", "fpsprobesize": "0"}
        if url.startswith("rtsp"):
            options |= {"rtsp_transport": transport, "analyzeduration": "200000", "max_delay": "200000"}
        try:
            self._container = av.open(url, timeout=(connect_timeout_s, read_timeout_s), options=options)
        except av.FFmpegError as error:
            raise SourceError(_reason(error, connect_timeout_s, "no connection")) from error
        stream = next(iter(self._container.streams.video), None)
        if stream is None:
            self._container.close()
            raise SourceError("the stream has no video")
        stream.codec_context.thread_type = "SLICE"
        stream.codec_context.thread_count = DECODER_THREADS
        self.fps = None if stream.average_rate is None else float(stream.average_rate)
        self._converters = Converters()
        self._interrupted = threading.Event()
        kind = self._container.format.name
        # Time stamps of RTP come from the camera. MJPEG over HTTP has artificial ones, and HLS delivers whole segments.
        self._clock = StreamClock() if "rtsp" in kind else None
        self._pace = SegmentPacer() if "hls" in kind else None
        self._reported = False
        self._skipping = FrameSkipping(stream)
        try:
            self._decoder = LiveDecoder(stream, decoder)
        except SourceError:
            self._container.close()
            raise
        self._frames = self._decode(stream)

    def read(self) -> FeedFrame:
        """The next frame."""
        try:
            return next(self._frames)
        except StopIteration:
            raise SourceError("the stream ended") from None
        except av.FFmpegError as error:
            raise SourceError(_reason(error, self._timeout_s, "no data")) from error

    def close(self) -> None:
        """Close the connection."""
        self._frames.close()
        self._decoder.close()
        self._container.close()

    def interrupt(self) -> None:
        """End a wait for the due time of a frame; a wait for data ends by its time-out."""
        self._interrupted.set()

    def _decode(self, stream: VideoStream) -> Generator[FeedFrame, None, None]:
        last_s = asked_s = time.monotonic()
        for packet in self._container.demux(stream):
            arrived_ns, arrived_at = time.perf_counter_ns(), time.time()
            if time.monotonic() - asked_s > 0.9 * self._timeout_s:
                # At a time-out FFmpeg first returns the packet that its parser held back, and then waits again.
                raise SourceError(_in_vain("no data", self._timeout_s))
            self._observe(packet, arrived_ns, arrived_at)
            self._skipping.prepare(packet, self.demand, software=self._decoder.software_only)
            try:
                pictures = self._decoder.decode(packet)
            except av.InvalidDataError:  # a damaged packet; decoding recovers at the next key frame
                pictures = []
            decode_ns = time.perf_counter_ns() - arrived_ns
            for picture in pictures:
                last_s = time.monotonic()
                if self._pace is not None and picture.time is not None:
                    self._interrupted.wait(self._pace.wait_s(picture.time, last_s))
                    arrived_ns, arrived_at = time.perf_counter_ns(), time.time()
                yield self._frame(picture, arrived_ns, arrived_at, decode_ns)
            asked_s = time.monotonic()
            if asked_s - last_s > self._timeout_s:
                raise SourceError(_in_vain("data, but no frame that can be decoded", self._timeout_s))

    def _observe(self, packet: Packet[VideoStream], arrived_ns: int, arrived_at: float) -> None:
        if self._clock is None or packet.pts is None or packet.time_base is None:
            return
        camera_at = None
        if packet.has_sidedata("prft"):
            # AVProducerReferenceTime: microseconds since 1970, then flags.
            (wall_us,) = struct.unpack_from("=q", bytes(packet.get_sidedata("prft")))
            # FFmpeg's parser releases a packet only when the next one arrives, so the first time stamp belongs to the
            # next packet.
            camera_at = wall_us / 1e6 if self._reported else None
            self._reported = True
        self._clock.packet(stamp_ns(packet.pts, packet.time_base), arrived_ns, arrived_at, camera_at)

    def _frame(self, picture: VideoFrame, arrived_ns: int, arrived_at: float, decode_ns: int) -> FeedFrame:
        captured_ns, clock, camera_ns = arrived_ns, _ARRIVAL, None
        if self._clock is not None and picture.pts is not None and picture.time_base is not None:
            camera_ns = stamp_ns(picture.pts, picture.time_base)
            captured_ns, clock = self._clock.captured(camera_ns, arrived_ns)

        return FeedFrame(
            PictureFrame(picture, self._converters),
            _thumbnail(picture),
            (picture.width, picture.height),
            captured_ns,
            arrived_at - (arrived_ns - captured_ns) / 1e9,
            clock,
            decode_ns,
            picture.is_corrupt,
            camera_ns,
            self._skipping.skipped_before(picture),
        )


class SegmentPacer:
    """Spreads frames that arrive a segment at a time according to their time stamps."""

    def __init__(self) -> None:
        self._ahead_s: float | None = None

    def wait_s(self, stamp_s: float, now_s: float) -> float:
        """Delay for a frame; a late frame, or one with a new time base, restarts the count."""
        if self._ahead_s is None or not 0 <= (wait_s := stamp_s - self._ahead_s - now_s) <= LONGEST_SEGMENT_S:
            self._ahead_s = stamp_s - now_s
            return 0.0
        return wait_s


def _thumbnail(picture: VideoFrame) -> Thumbnail:
    """From the luma plane if it has 8 bits, stretched to the full range."""
    if picture.format.name not in EIGHT_BIT_LUMA:
        return thumbnail_of(np.asarray(picture.to_ndarray(format="bgr24"), np.uint8))
    plane = picture.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    levels = thin_out(rows[: picture.height, : picture.width])
    full = picture.color_range == FULL_RANGE or picture.format.name.startswith(("yuvj", "gray"))
    return levels if full else _FULL_FROM_LIMITED[levels]


def _in_vain(what: str, timeout_s: float) -> str:
    return f"{what} within {timeout_s:g} s"


def _reason(error: av.FFmpegError, timeout_s: float, what: str) -> str:
    """Reason of an error without the address, which may contain a password."""
    if isinstance(error, (av.ExitError, av.TimeoutError)):
        return _in_vain(what, timeout_s)
    return (error.strerror or type(error).__name__).strip().rstrip(".")
