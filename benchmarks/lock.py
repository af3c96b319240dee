"""Measures which calls release the interpreter's lock, so that another thread can execute Python code."""

from __future__ import annotations

import sys
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
SECONDS = 0.3
"""CPU time of each operation."""

Operation = Callable[[], object]


def shares() -> dict[str, float]:
    """By name, CPU time of a thread that executes Python code, divided by that of a thread that makes the calls.

    Near 0 if the call keeps the lock, because the other thread then runs only between calls. Up to 1 if it releases
    the lock. On a busy machine, the other thread keeps the lock longer between calls, so short calls can seem to
    release it.
    """
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            pass

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # between two calls the lock is given back at once
    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)
    try:
        return {name: _share(make(), clock) for name, make in operations().items()}
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval_s)


def _share(operation: Operation, clock: int) -> float:
    other_s, own_s = time.clock_gettime(clock), time.thread_time()
    while time.thread_time() - own_s < SECONDS:
        operation()
    return (time.clock_gettime(clock) - other_s) / (time.thread_time() - own_s)


def operations() -> dict[str, Callable[[], Operation]]:
    """The calls that frames of 1920x1080 spend their time in, and one that keeps the lock."""
    image = SyntheticCamera(SIZE_WH).frame(0)
    picture = VideoFrame.from_ndarray(image, "bgr24").reformat(format="yuv420p")
    encoder = CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = *SIZE_WH, "yuv420p"
    encoder.time_base, encoder.options = Fraction(1, 25), {"preset": "ultrafast", "tune": "zerolatency"}
    packet = encoder.encode(picture)[0]
    numbers = tuple(range(5_000_000))

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
    """Print the shares."""
    print(
        "CPU time of a Python thread over that of the thread that makes the calls; near 0: the call keeps the lock"
    )
    for name, share in shares().items():
        print(f"  {name:26} {share:.2f}")


if __name__ == "__main__":
    main()
