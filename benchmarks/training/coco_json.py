"""Convert a YOLO folder's labels to COCO JSON, the label format of `edgevision eval`.

    python benchmarks/training/coco_json.py coco_instances/train train.json --names benchmarks/training/coco_ids.txt

Polygons are kept as the segmentation, and areas are the areas of the polygons. ``coco_ids.txt`` names the classes of
folders numbered by COCO's category ids, 1 to 90. Ten of the ids are unused; their lines are empty.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgevision.datasets.opening import LabelReading, read_boxes
from edgevision.sources.image_files import read_image
from edgevision.train.tasks.box_validation import labelled_images


def main() -> None:
    """Read the labels and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--names", type=Path, help="file with class names; default: FOLDER/classes.txt")
    parser.add_argument("--boxes", action="store_true", help="labels are boxes, not polygons")
    options = parser.parse_args()
    data = read_boxes(options.folder, LabelReading(numbers=options.names, outlines=not options.boxes))
    content = labelled_images(data, tuple(read_image(file) for file in data.files)).coco.dataset
    options.output.write_text(json.dumps(content) + "\n")
    print(f"{options.output}: {len(data)} images, {sum(map(len, data.boxes))} objects")


if __name__ == "__main__":
    main()
