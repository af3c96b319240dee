"""Write a YOLO folder's labels as COCO json, which `edgevision eval` measures against.

    python benchmarks/training/coco_json.py coco_instances/train train.json --names benchmarks/training/coco_ids.txt

Polygons are kept as the segmentation, and areas are theirs. ``coco_ids.txt`` names the class numbers of folders whose
numbers are COCO's own category ids, 1 to 90, of which ten are not in use: their lines are empty.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgevision.datasets.opening import LabelReading, read_boxes
from edgevision.sources.image_files import read_image
from edgevision.train.tasks.box_validation import labelled_images


def main() -> None:
    """Read, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--names", type=Path, help="Names of the class numbers. Default: FOLDER/classes.txt.")
    parser.add_argument("--boxes", action="store_true", help="Labels are boxes, not polygons.")
    options = parser.parse_args()
    data = read_boxes(options.folder, LabelReading(numbers=options.names, outlines=not options.boxes))
    content = labelled_images(data, tuple(read_image(file) for file in data.files)).coco.dataset
    options.output.write_text(json.dumps(content) + "\n")
    print(f"{options.output}: {len(data)} images, {sum(map(len, data.boxes))} objects")


if __name__ == "__main__":
    main()
