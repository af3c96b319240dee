"""Copy a run's weights into the package, with its record and model card.

    python benchmarks/training/publish.py RUN NAME --data "COCO, 2,120 images" --eval record.json [--eval record2.json]

Writes ``edgevision/weights/NAME.safetensors`` and ``NAME.md`` (the model card), and ``benchmarks/training/NAME/`` with
the run's settings, metrics and curves. With ``--record-only`` the weights are not copied, and the card is written as
README.md of the record. ``edgevision eval --record`` writes an eval record. Paths of the training machine are reduced
to names.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import textwrap
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

REPOSITORY = Path(__file__).resolve().parents[2]
WEAK_AP50 = 30.0
"""Classes below this value are listed as limitations of the model."""


def without_folders(value: Any) -> Any:
    """The same JSON value, with every absolute path reduced to its last part."""
    if isinstance(value, dict):
        return {name: without_folders(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_folders(item) for item in value]
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def metadata_of(source: Path, size: int | None) -> dict[str, str]:
    """Metadata of a run's weights without paths of other machines; `size` is the input side to run at."""
    with safetensors.safe_open(str(source), "pt") as file:
        metadata = dict(file.metadata() or {})
    if "job" in metadata:
        metadata["job"] = json.dumps(without_folders(json.loads(metadata["job"])))
    if size is not None:
        metadata["size"] = json.dumps([size, size])
    return metadata


def publish_weights(source: Path, target: Path, size: int | None) -> dict[str, str]:
    """Copy weights with cleaned metadata; returns the metadata."""
    metadata = metadata_of(source, size)
    with safetensors.safe_open(str(source), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(safetensors.torch.save(tensors, metadata))
    return metadata


def card(
    name: str, data: str, metadata: dict[str, str], rows: list[dict[str, str]], records: list[dict[str, Any]]
) -> str:
    """The text of the model card."""
    job, last = json.loads(metadata["job"]), rows[-1]
    classes = ", ".join(json.loads(metadata["names"]))
    size = "x".join(map(str, json.loads(metadata["size"]))) if "size" in metadata else None
    steps = f"{float(last['step']):.0f} steps in {float(last['epoch']):.0f} epochs"
    if job.get("minutes"):
        length = f"{job['minutes']:g} minutes by the clock: {steps}"
    else:
        length = f"fixed: {steps}, {float(last['minutes']):.0f} minutes"
    weights = f"{job['weights']}, matching layers" if job.get("weights") else "random weights"
    size_text = f", input {size}" if size else ""
    summary = f"Recipe `{metadata['recipe']}`{size_text}{f', classes: {classes}' if classes else ''}."
    folder = f"`benchmarks/training/{name}/`"
    method = f"Settings, metrics and curves are in {folder}. `docs/training.md` describes the method."
    lines = [
        f"# {name}",
        "",
        *wrap(summary),
        "",
        "## Training",
        "",
        "| | |",
        "|---|---|",
        f"| start | {weights}, seed {job['seed']} |",
        f"| training data | {data} |",
        f"| length | {length} |",
        "| weights | the average with the best validation result, float16 |",
        "",
        *wrap(method),
        "",
        f"![curves](https://raw.githubusercontent.com/edgevision/edgevision/main/benchmarks/training/{name}/curves.png)",
    ]
    for record in records:
        lines += ["", *_measured(record)]
    return "\n".join(lines) + "\n"


def wrap(text: str, indent: str = "") -> list[str]:
    """Lines of at most 100 columns; `indent` precedes all but the first."""
    return textwrap.wrap(text, 100, subsequent_indent=indent, break_on_hyphens=False)


def _measured(record: dict[str, Any]) -> list[str]:
    if "boxes" in record and isinstance(record["boxes"], dict):
        boxes, masks = record["boxes"], record["masks"]
        return [*_detected(boxes, "boxes", " of boxes"), "", *_detected(masks, "masks", " of masks")]
    if "ap50" in record:
        return _detected(record, "boxes", "")
    if "miou" in record:
        rows = [
            f"| {c['name']} | {c['share']:.2f} | {c['iou']:.1f} |" for c in record["classes"] if c["share"]
        ]
        return [
            f"## Accuracy on {record['images']} images",
            "",
            f"mIoU {record['miou']:.1f} %, {record['pixels']:.1f} % of pixels correct.",
            "",
            "| class | % of pixels | IoU |",
            "|---|---|---|",
            *rows,
        ]
    table = [f"| {c['name']} | {c['images']} | {c['recall']:.1f} |" for c in record["classes"]]
    head = [f"## Accuracy on {record['images']} images", "", f"Top-1 {record['top1']:.1f} %.", ""]
    return [*head, "| class | images | recall |", "|---|---|---|", *table]


def _detected(record: dict[str, Any], unit: str, subject: str) -> list[str]:
    seen = [found for found in record["classes"] if found["boxes"]]
    table = [f"| {c['name']} | {c['boxes']} | {c['ap']:.1f} | {c['ap50']:.1f} |" for c in seen]
    weak = [f"{c['name']} (AP50 {c['ap50']:.0f})" for c in seen if c["ap50"] < WEAK_AP50]
    lines = [
        f"## Accuracy{subject} on {record['images']} images, {record['boxes']} {unit}",
        "",
        f"AP {record['ap']:.1f}, AP50 {record['ap50']:.1f}, AP75 {record['ap75']:.1f} (COCO's metrics, IoU threshold"
        " 0.65, score threshold 0.001).",
        "",
        f"| class | {unit} | AP | AP50 |",
        "|---|---|---|---|",
        *table,
        "",
        "## Limitations",
        "",
        f"- Small objects: AP {record['ap_small']:.1f} below 32x32 px of the original image, {record['ap_medium']:.1f}"
        f" up to 96x96, {record['ap_large']:.1f} above.",
    ]
    if weak:
        lines += wrap(f"- Classes under AP50 {WEAK_AP50:.0f}: {', '.join(weak)}.", "  ")
    lines.append("- Not measured, and rare in its data: night, rain, fisheye lenses and views from above.")
    return lines


def main() -> None:
    """Publish one run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--data", required=True, help="description of the training data")
    parser.add_argument("--eval", type=Path, action="append", default=[], dest="records")
    parser.add_argument("--record-only", action="store_true", help="do not copy the weights into the package")
    parser.add_argument("--size", type=int, help="input side to run at; default: the side used in training")
    options = parser.parse_args()
    record_folder = REPOSITORY / "benchmarks" / "training" / options.name
    record_folder.mkdir(parents=True, exist_ok=True)
    best = options.run / "best.safetensors"
    if options.record_only:
        page = record_folder / "README.md"
        metadata = metadata_of(best, options.size)
    else:
        page = REPOSITORY / "edgevision" / "weights" / f"{options.name}.md"
        metadata = publish_weights(best, page.with_suffix(".safetensors"), options.size)
    for file in ("metrics.csv", "curves.png"):
        shutil.copyfile(options.run / file, record_folder / file)
    settings = without_folders(json.loads((options.run / "config.json").read_text()))
    (record_folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    records = [json.loads(path.read_text()) for path in options.records]
    for path, record in zip(options.records, records, strict=True):
        (record_folder / path.name).write_text(json.dumps(record, indent=2) + "\n")
    with (options.run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    page.write_text(card(options.name, options.data, metadata, rows, records))


if __name__ == "__main__":
    main()
