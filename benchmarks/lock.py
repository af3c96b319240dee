"""Calls that release the interpreter's lock: several threads make more of them than one."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from fractions import Fraction

import cv2
import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from edgevision.sources.feeds.picture import Converters
from edgevision.sources.synthetic_camera import SyntheticCamera

SIZE_WH = (1920, 1080)
THREADS = 4
ROUNDS = 5
SECONDS = 0.15

Operation = Callable[[], object]


def gains() -> dict[str, float]:
    """By name, calls/s of `THREADS` threads over those of one, each thread with its own objects.

    About 1 if the call keeps the lock, more if it releases it and there are cores, or shares of them, for it.
    """
    found = {}
    for name, make in operations().items():
        made = [make() for _ in range(THREADS)]
        pairs = [(_rate(made), _rate(made[:1])) for _ in range(ROUNDS)]
        found[name] = statistics.median(several / one for several, one in pairs)
    return found


def _rate(operations_of_threads: list[Operation]) -> float:
    counts = [0] * len(operations_of_threads)
    ends_s = time.perf_counter() + SECONDS

    def work(number: int) -> None:
        while time.perf_counter() < ends_s:
            operations_of_threads[number]()
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(counts))]
    began_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began_s)


def operations() -> dict[str, Callable[[], Operation]]:
    """The calls that frames of 1920x1080 spend their time in, and one that keeps the lock."""
    image = SyntheticCamera(SIZE_WH).frame(0)
    picture = VideoFrame.from_ndarray(image, "bgr24").reformat(format="yuv420p")
    encoder = CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = *SIZE_WH, "yuv420p"
    encoder.time_base, encoder.options = Fraction(1, 25), {"preset": "ultrafast", "tune": "zerolatency"}
    packet = encoder.encode(picture)[0]
    numbers = tuple(range(100_000))

    def decode() -> Operation:
        decoder = VideoCodecContext.create("h264", "r")
        decoder.thread_count = 1
        return lambda: decoder.decode(packet)

    def convert() -> Operation:
        mine, converters = picture.reformat(format="yuv420p", width=SIZE_WH[0] - 2), Converters()
        return lambda: converters.to_bgr(mine, threads=1)

    def resize() -> Operation:
        small = np.empty((360, 640, 3), np.uint8)
        return lambda: cv2.resize(image, (640, 360), dst=small)

    def copy() -> Operation:
        copied = np.empty_like(image)
        return lambda: np.copyto(copied, image)

    return {
        "PyAV: decode H.264": decode,
        "PyAV: libswscale to BGR": convert,
        "OpenCV: resize": resize,
        "OpenCV: encode to JPEG": lambda: lambda: cv2.imencode(".jpg", image),
        "NumPy: copy": copy,
        "Python: sum of a tuple": lambda: lambda: sum(numbers),
    }


def main() -> None:
    """Print the gains."""
    print(f"calls/s of {THREADS} threads over those of one:")
    for name, gain in gains().items():
        print(f"  {name:26} {gain:.2f}")


if __name__ == "__main__":
    main()
