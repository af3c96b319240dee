"""Check heat maps of a detector: hide the hottest pixels of each image's best detection and measure the score.

``python benchmarks/explain.py BUNDLE IMAGES [--limit N] [--masks N]``. Exit code 1 unless, summed over all images,
hiding the hottest fifth of the image costs more than twice what hiding the same shape elsewhere costs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from edgevision.cli.present import table
from edgevision.contract.session import SessionOptions
from edgevision.engines.opening import open_session
from edgevision.errors import UsageError
from edgevision.explain.maps import ExplainOptions, Explanation, explain
from edgevision.explain.target import TargetChoice
from edgevision.sources.image_files import IMAGE_SUFFIXES, read_image


def explained(arguments: argparse.Namespace) -> tuple[list[Explanation], str]:
    """Explanations of the best detections of the first images that have one, and the model and library that ran."""
    paths = sorted(p for p in arguments.images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    found: list[Explanation] = []
    options = SessionOptions(threads=arguments.threads)
    with open_session(arguments.bundle, engine=arguments.engine, options=options) as session:
        for path in paths:
            if len(found) == arguments.limit:
                break
            try:
                found.append(
                    explain(
                        session,
                        read_image(path),
                        TargetChoice(threshold=arguments.threshold),
                        ExplainOptions(masks=arguments.masks, seed=len(found)),
                    )
                )
            except UsageError:  # no detection of that score
                continue
        return found, f"{session.spec.name}, {session.info.library}"


def main() -> None:
    """Explain, print the scores and check the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--masks", type=int, default=800)
    parser.add_argument("--threshold", type=float, default=0.4)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--engine")
    arguments = parser.parse_args()
    began = time.perf_counter()
    found, what = explained(arguments)
    if not found:
        sys.exit(f"no image of {arguments.images} has a detection of score {arguments.threshold:g} or more")
    seconds = (time.perf_counter() - began) / len(found)
    checks = [explanation.check for explanation in found]
    scores = np.array([(c.whole, c.hottest_hidden, c.random_hidden, c.hottest_shown) for c in checks])
    print(f"{what}: {len(found)} images, {arguments.masks} masks, {seconds:.1f} s an image")
    names = ("whole image", "hottest 20 % hidden", "same shape hidden elsewhere", "hottest 20 % alone")
    rows = [[name, f"{value:.3f}"] for name, value in zip(names, scores.mean(axis=0), strict=True)]
    print("\n".join(table(["image", "mean score"], rows)))
    inside = np.mean([explanation.inside for explanation in found])
    area = np.mean([explanation.inside_area for explanation in found])
    print(f"heat inside the box: {100 * inside:.0f} %; the box is {100 * area:.0f} % of the image")
    print(f"maps that pass: {sum(check.holds for check in checks)} of {len(checks)}")
    whole, hidden, random, _ = scores.sum(axis=0)
    good = whole - hidden > 2 * (whole - random)
    print(
        f"{'ok' if good else 'FAIL'}    hiding the hottest 20 % costs {whole - hidden:.2f},"
        f" elsewhere {whole - random:.2f}"
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
