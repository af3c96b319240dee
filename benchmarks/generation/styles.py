"""Draw the images whose styles the included network transfers: mosaic, hatching, waves and dots.

    python benchmarks/generation/styles.py OUT

Writes OUT/NAME.png of 256x256 pixels. They are computed from random numbers of a fixed seed and show nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.sources.image_files import write_image

SIDE = 256
Image = npt.NDArray[np.uint8]


def mosaic(rng: np.random.Generator) -> Image:
    """Tiles of warm and turquoise colours around random points, with dark joints."""
    points = rng.uniform(0, SIDE, (420, 2))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(rows[..., None] - points[:, 0], columns[..., None] - points[:, 1])
    nearest = np.partition(distance, 1, axis=2)
    palette = np.array(
        [(40, 90, 200), (60, 170, 235), (150, 160, 40), (200, 215, 225), (120, 60, 30), (70, 60, 170)]
    )
    colours = palette[rng.integers(len(palette), size=len(points))] + rng.normal(0, 12, (len(points), 3))
    image = colours[distance.argmin(2)]
    joints = nearest[..., 1] - nearest[..., 0] < 1.6
    image[joints] = (35, 35, 40)
    return np.asarray(image.clip(0, 255), np.uint8)


def hatching(rng: np.random.Generator) -> Image:
    """Ink strokes on paper in two directions, denser in dark places."""
    image = np.full((SIDE, SIDE, 3), (214, 232, 240), np.uint8)
    tone = cv2.resize(rng.random((6, 6)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    for angle, least in ((0.9, 0.25), (-0.7, 0.55)):
        for _ in range(2600):
            x, y = rng.uniform(0, SIDE, 2)
            if tone[int(y), int(x)] < least:
                continue
            turned, length = angle + rng.normal(0, 0.05), rng.uniform(6, 14)
            step = np.array([np.cos(turned), np.sin(turned)]) * length / 2
            ends = [tuple(int(v) for v in np.round((np.array([x, y]) + sign * step) * 8)) for sign in (-1, 1)]
            cv2.line(image, ends[0], ends[1], (60, 30, 25), 1, cv2.LINE_AA, 3)
    return image


def waves(rng: np.random.Generator) -> Image:
    """Bands of blue and cream that swing, with dark outlines."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    swing = np.zeros((SIDE, SIDE))
    for _ in range(5):
        height, along, across, start = rng.uniform((0.02, 1, -1, 0), (0.06, 4, 1, 1))
        swing += height * np.sin(2 * np.pi * (along * columns + across * rows + start))
    phase = (rows + swing) * 15
    palette = np.array(
        [(110, 50, 20), (170, 100, 40), (215, 180, 120), (225, 240, 245), (190, 140, 70)], np.float64
    )
    image = palette[np.floor(phase).astype(int) % len(palette)]
    image[(phase % 1) < 0.13] = (60, 25, 10)
    return np.asarray(cv2.GaussianBlur(image.astype(np.uint8), (3, 3), 0), np.uint8)


def dots(rng: np.random.Generator) -> Image:
    """Dabs of strong colours side by side."""
    image = np.full((SIDE, SIDE, 3), (60, 110, 150), np.uint8)
    hues = cv2.resize(rng.random((5, 5)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    for _ in range(5200):
        x, y = rng.uniform(0, SIDE, 2)
        hue = (hues[int(y), int(x)] * 150 + rng.normal(0, 18)) % 180
        hsv = np.array([[[hue, rng.uniform(130, 240), rng.uniform(150, 255)]]]).astype(np.uint8)
        colour = tuple(int(v) for v in cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0])
        cv2.circle(
            image, (int(x * 8), int(y * 8)), int(rng.uniform(1.5, 3.2) * 8), colour, -1, cv2.LINE_AA, 3
        )
    return image


STYLES: dict[str, Callable[[np.random.Generator], Image]] = {
    "mosaic": mosaic,
    "hatching": hatching,
    "waves": waves,
    "dots": dots,
}


def main() -> None:
    """Draw all styles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, draw in STYLES.items():
        write_image(options.out / f"{name}.png", draw(np.random.default_rng(0)))
        print(options.out / f"{name}.png")


if __name__ == "__main__":
    main()
