"""Opens a data set from a path: detects its format and its training and validation parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgevision.datasets import voc
from edgevision.datasets.boxes import BY_THE_SEED, BoxDataset, ClassNames
from edgevision.datasets.coco import CocoBox, CocoFile, CocoImage, image_folder, read_coco
from edgevision.datasets.data_yaml import DataYaml, read_data_yaml
from edgevision.datasets.yolo import images_below, names_from_text, read_yolo, read_yolo_images
from edgevision.errors import UsageError
from edgevision.sources.image_files import read_image

HELD_NAMES = ("val", "valid", "validation")
"""Usual names of the validation part; ``test`` is never read."""
_YAML = (".yaml", ".yml")
_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml")


@dataclass(frozen=True, slots=True)
class LabelReading:
    """Options for reading labels of any format."""

    images: Path | None = None
    """The images of a COCO file or of VOC's XML; None: the usual places of their tools."""
    wanted: ClassNames | None = None
    """None: every class of the data."""
    numbers: Path | None = None
    """Names of a YOLO folder's class numbers; None: its ``classes.txt``."""
    outlines: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """Training data and validation data, with a description of the split."""

    train: BoxDataset
    held: BoxDataset
    source: str


def read_split(
    data: Path, reading: LabelReading, *, held: Path | None, held_images: Path | None, seed: int
) -> Split:
    """Read a data set: validation data is `held` if given, else the data's own part, else a tenth selected by `seed`.

    Raises `UsageError` for a path that is not a data set, `SourceError` for missing images.
    """
    parts = _own_parts(data, reading)
    train = parts[0] if parts else read_boxes(data, reading)
    if held is not None:
        other = LabelReading(
            held_images, reading.wanted or ClassNames(train.classes), reading.numbers, reading.outlines
        )
        return Split(train, read_held(held, other), f"validation on {held} (--val)")
    if parts is None:
        return Split(*train.split(seed), BY_THE_SEED)
    return Split(parts[0], parts[1], parts[2] + _shared(parts[0], parts[1]))


def _shared(train: BoxDataset, held: BoxDataset) -> str:
    both = len({file.resolve() for file in train.files} & {file.resolve() for file in held.files})
    return (
        f"; WARNING: {both} images are in both parts, which makes validation results too good" if both else ""
    )


def read_held(data: Path, reading: LabelReading) -> BoxDataset:
    """Validation data: that part of a data set with parts, else all of it."""
    yaml = _yaml_of(data)
    if yaml is not None:
        content = read_data_yaml(yaml)
        if "train" not in content.parts:
            return _from_yaml(content, "val", reading)
    parts = _own_parts(data, reading)
    return read_boxes(data, reading) if parts is None else parts[1]


def read_boxes(data: Path, reading: LabelReading) -> BoxDataset:
    """All images of a COCO file, a YOLO folder, a folder of VOC's XML, or the `train` part of a data.yaml."""
    yaml = _yaml_of(data)
    if yaml is not None:
        return _from_yaml(read_data_yaml(yaml), "train", reading)
    if data.is_dir():
        if voc.is_voc(data):
            _refuse_outlines(data, reading)
            return voc.read_voc(data, reading.images, reading.wanted)
        names = names_from_text(reading.numbers or data / "classes.txt")
        return read_yolo(data, names, reading.wanted, outlines=reading.outlines)
    if data.suffix != ".json" or not data.is_file():
        raise UsageError(
            f"--data {data} is neither a COCO .json file nor a data.yaml, nor a folder with images/ and labels/ or"
            " of Pascal VOC's XML"
        )
    return read_coco(data, image_folder(data, reading.images), reading.wanted, outlines=reading.outlines)


def _own_parts(data: Path, reading: LabelReading) -> tuple[BoxDataset, BoxDataset, str] | None:
    """The data's own two parts and their origin; None if it has only one part."""
    yaml = _yaml_of(data)
    if yaml is not None:
        content = read_data_yaml(yaml)
        if "val" not in content.parts:
            return None
        train = _from_yaml(content, "train", reading)
        return (
            train,
            _from_yaml(content, "val", _alike(reading, train)),
            f"the split of {yaml}: train and val",
        )
    if data.is_dir():
        return _voc_parts(data, reading) if voc.is_voc(data) else _folder_parts(data, reading)
    if data.suffix == ".json" and reading.images is None:
        return _coco_parts(data, reading)
    return None


def _voc_parts(data: Path, reading: LabelReading) -> tuple[BoxDataset, BoxDataset, str] | None:
    if not (voc.has_part(data, "train") and voc.has_part(data, "val")):
        return None
    _refuse_outlines(data, reading)
    train = voc.read_voc(data, reading.images, reading.wanted, part="train")
    held = voc.read_voc(data, reading.images, _alike(reading, train).wanted, part="val")
    return train, held, f"the split of {data / 'ImageSets/Main'}: train.txt and val.txt"


def _folder_parts(data: Path, reading: LabelReading) -> tuple[BoxDataset, BoxDataset, str] | None:
    """``images/train`` and ``images/val``, or ``train/images`` and ``val/images``."""
    for pattern in ("images/{}", "{}/images"):
        held = next(
            (data / pattern.format(n) for n in HELD_NAMES if (data / pattern.format(n)).is_dir()), None
        )
        train = data / pattern.format("train")
        if held is None or not train.is_dir():
            continue
        names = names_from_text(reading.numbers or data / "classes.txt")
        first = read_yolo_images(images_below(train), names, reading.wanted, outlines=reading.outlines)
        wanted = _alike(reading, first).wanted
        second = read_yolo_images(images_below(held), names, wanted, outlines=reading.outlines)
        return first, second, f"the split of the folders {train} and {held}"
    return None


def _coco_parts(data: Path, reading: LabelReading) -> tuple[BoxDataset, BoxDataset, str] | None:
    """A file whose name, or folder, contains ``train``, and its counterpart with ``val``."""
    for name in HELD_NAMES:
        for other in (
            data.with_name(data.name.replace("train", name)),
            data.parent.with_name(data.parent.name.replace("train", name)) / data.name,
        ):
            if other != data and other.is_file():
                train = read_boxes(data, reading)
                return train, read_boxes(other, _alike(reading, train)), f"the split of {data} and {other}"
    return None


def _from_yaml(content: DataYaml, part: str, reading: LabelReading) -> BoxDataset:
    if part not in content.parts:
        meaning = {"train": "training", "val": "validation"}[part]
        raise UsageError(f"{content.path} has no {meaning} images: key `{part}` is missing")
    names = names_from_text(reading.numbers) if reading.numbers else content.names
    return read_yolo_images(content.parts[part], names, reading.wanted, outlines=reading.outlines)


def _alike(reading: LabelReading, train: BoxDataset) -> LabelReading:
    """The second part is read with the classes of the first."""
    return LabelReading(
        reading.images, reading.wanted or ClassNames(train.classes), reading.numbers, reading.outlines
    )


def _yaml_of(data: Path) -> Path | None:
    if data.suffix.lower() in _YAML and data.is_file():
        return data
    if data.is_dir():
        return next(
            (data / name for name in _YAML_NAMES if (data / name).is_file()),
            None,
        )
    return None


def _refuse_outlines(data: Path, reading: LabelReading) -> None:
    if reading.outlines:
        raise UsageError(
            f"{data}: Pascal VOC's XML has only boxes; instances need polygons (COCO or YOLO text)"
        )


def is_boxes(folder: Path) -> bool:
    """True for a folder of labelled boxes: VOC's XML, a data.yaml, or images/ and labels/ with class names."""
    return voc.is_voc(folder) or _yaml_of(folder) is not None or (folder / "classes.txt").is_file()


def coco_from_boxes(source: Path, data: BoxDataset) -> CocoFile:
    """Convert a data set of another format to a COCO file, in pixels of its images."""
    images, boxes = [], []
    for number, (file, labels) in enumerate(zip(data.files, data.boxes, strict=True), 1):
        height, width = read_image(file).shape[:2]
        images.append(CocoImage(number, file, (float(width), float(height))))
        outlines = labels.outlines or (None,) * len(labels)
        for xyxy, label, outline in zip(labels.xyxy.astype(float), labels.labels, outlines, strict=True):
            x, y, right, bottom = (float(v) for v in xyxy * [width, height, width, height])
            xywh = (x, y, right - x, bottom - y)
            polygons = None
            if outline is not None:
                polygons = [(part.astype(float) * (width, height)).ravel().tolist() for part in outline]
            boxes.append(CocoBox(number, int(label) + 1, xywh, xywh[2] * xywh[3], False, polygons, None))
    categories = {label + 1: name for label, name in enumerate(data.classes)}
    return CocoFile(source, tuple(images), categories, tuple(boxes), data.warnings)
