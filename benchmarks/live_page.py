"""Cost of a viewer of the live page: results per second with and without a viewer, in turn.

    python -m benchmarks.live_page BUNDLE [--source demo:1280x720@120] [--pairs 10] [--seconds 4]

The viewer is a separate process that requests each image as the page does and discards it. The source must be faster
than the model, so that the page's share of the CPU shows in the results. Prints the ratio of each pair, and the median
with the middle half of the pairs, for results per second and for inference time.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from aiohttp import ClientSession

from edgevision.device.facts import machine_name
from edgevision.engines.opening import open_session
from edgevision.service.camera_manager import CameraManager
from edgevision.service.camera_plan import CameraPlan
from edgevision.service.web.options import PageOptions
from edgevision.service.web.server import PageServer, serve

SETTLE_S = 0.5


@dataclass(frozen=True, slots=True)
class Phase:
    """Measurements of one phase."""

    results_per_s: float
    inference_ms: float
    images_per_s: float


def look(url: str) -> None:
    """Act as a viewer until killed: receive the results, and images as fast as they arrive."""

    async def play() -> None:
        async with ClientSession() as session:
            results = await session.ws_connect(f"{url}api/results?per_s=5")
            async with session.ws_connect(f"{url}video/camera?width=960") as video:
                await video.send_str("next")
                await video.send_str("next")
                listening = asyncio.create_task(_drain(results))
                async for _ in video:
                    await video.send_str("next")
                await listening

    async def _drain(socket: object) -> None:
        async for _ in socket:  # type: ignore[attr-defined]  # a WebSocket
            pass

    asyncio.run(play())


def measure(camera_manager: CameraManager, server: PageServer, seconds: float) -> Phase:
    """Measure one phase after a settling time."""
    inference_ms: list[float] = []
    time.sleep(SETTLE_S)
    pictures, began_s = server.pictures, time.perf_counter()
    unsubscribe = camera_manager.subscribe(
        lambda _, processed: inference_ms.append(processed.times.inference_ns / 1e6)
    )
    time.sleep(seconds)
    unsubscribe()
    took_s = time.perf_counter() - began_s
    return Phase(
        len(inference_ms) / took_s, float(np.median(inference_ms)), (server.pictures - pictures) / took_s
    )


def compare(
    camera_manager: CameraManager, server: PageServer, pairs: int, seconds: float
) -> list[tuple[Phase, Phase]]:
    """Alternate phases without and with a viewer; both orders occur equally often."""
    found = []
    for number in range(pairs):
        phases: dict[bool, Phase] = {}
        for watched in (False, True) if number % 2 == 0 else (True, False):
            viewer = None
            if watched:
                viewer = subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.live_page", "--look", server.url]
                )
                while server.viewers == 0:
                    time.sleep(0.05)
            phases[watched] = measure(camera_manager, server, seconds)
            if viewer is not None:
                viewer.kill()
                viewer.wait()
        found.append((phases[False], phases[True]))
        alone, seen = found[-1]
        print(
            f"{alone.results_per_s:6.2f} -> {seen.results_per_s:6.2f} results/s, inference {alone.inference_ms:.1f} ->"
            f" {seen.inference_ms:.1f} ms, {seen.images_per_s:.1f} images/s, ratio"
            f" {seen.results_per_s / alone.results_per_s:.3f}"
        )
    return found


def main() -> None:
    """Run the comparison and print it; see the module docstring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--engine")
    parser.add_argument("--source", default="demo:1280x720@120")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--look", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.look:
        look(arguments.look)
        return
    if arguments.bundle is None:
        parser.error("BUNDLE is required")
    camera_manager = CameraManager(
        lambda _: open_session(arguments.bundle, engine=arguments.engine),
        [CameraPlan("camera", arguments.source)],
    )
    camera_manager.start()
    with serve(camera_manager, PageOptions(port=0)) as server:
        while not camera_manager.readiness.ready or camera_manager.cameras[0].stats.frames < 20:
            if camera_manager.failure is not None:
                raise camera_manager.failure
            time.sleep(0.1)
        found = compare(camera_manager, server, arguments.pairs, arguments.seconds)
    camera_manager.close()
    for what, ratios in (
        ("results/s", [seen.results_per_s / alone.results_per_s for alone, seen in found]),
        ("inference", [seen.inference_ms / alone.inference_ms for alone, seen in found]),
    ):
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        print(
            f"{what}, ratio with a viewer to without: median {middle:.3f}, middle half {low:.3f} to {high:.3f}"
        )
    print(f"{arguments.source} on {machine_name()}")


if __name__ == "__main__":
    main()
