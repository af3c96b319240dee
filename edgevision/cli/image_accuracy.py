"""Accuracy of image-to-image models, for `edgevision eval`."""

from __future__ import annotations

import math
from pathlib import Path

from edgevision.cli.evaluations import heading_of, shown
from edgevision.cli.extras import require_image_metrics
from edgevision.cli.present import table
from edgevision.contract.session import SessionOptions
from edgevision.engines.opening import open_session
from edgevision.evaluation.images import accuracy_from_quality, find_pairs, measure_all
from edgevision.storage.codec import json_from_dataclass


def image_accuracy(
    bundle: Path,
    images: Path,
    targets: Path | None,
    limit: int | None,
    engine: str | None,
    options: SessionOptions,
) -> tuple[object, list[str]]:
    """The record of `eval`, and its lines."""
    require_image_metrics("edgevision eval of an image-to-image model")
    with open_session(bundle, engine=engine, options=options) as session:
        pairs = find_pairs(session.spec, images, targets, limit=limit)
        accuracy = accuracy_from_quality(list(shown(measure_all(session, pairs), len(pairs))))
        heading = heading_of(session, f"{accuracy.images} images")
    rows = [[row.name, f"{row.psnr:.2f}", f"{row.ssim:.4f}"] for row in accuracy.rows]
    plain = "" if math.isnan(accuracy.plain_psnr) else f"  (bicubic {accuracy.plain_psnr:.2f} dB)"
    means = f"PSNR {accuracy.psnr:.2f} dB  SSIM {accuracy.ssim:.4f}{plain}"
    return json_from_dataclass(accuracy), [heading, *table(["image", "PSNR, dB", "SSIM"], rows), means]
