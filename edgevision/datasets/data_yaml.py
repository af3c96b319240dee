"""Reads ``data.yaml`` of Ultralytics and Roboflow: image locations and class names.

The format: https://docs.ultralytics.com/datasets/detect/. `train`, `val` and `test` are a folder, a list of folders, or
text files that list images. Relative ones start at `path`, which is relative to the file itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevision.datasets.boxes import read_text
from edgevision.datasets.yolo import images_below
from edgevision.errors import MissingExtraError, SourceError, UsageError
from edgevision.sources.image_files import IMAGE_SUFFIXES

PARTS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class DataYaml:
    """Content of a file; missing parts are absent."""

    path: Path
    names: tuple[str, ...]
    """By class number; an empty name is an unused number."""
    parts: dict[str, tuple[Path, ...]]
    """Image files by part."""


def read_data_yaml(path: Path) -> DataYaml:
    """Read a file and list its images; raises `UsageError` and `SourceError` that name the key."""
    content = _parsed(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a data set: expected keys `train`, `val`, `names`")
    names = _names(path, content)
    root = _root(path, content.get("path"))
    parts = {
        part: _images(path, part, content[part], root)
        for part in PARTS
        if content.get(part) not in (None, "")
    }
    if "valid" in content and "val" not in parts:
        parts["val"] = _images(path, "valid", content["valid"], root)
    if not parts:
        raise UsageError(f"{path} names no images: expected keys `train` and `val`")
    return DataYaml(path, names, parts)


def _parsed(path: Path) -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyyaml", "train", f"reading {path.name}") from error
    try:
        return yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or error
        raise UsageError(f"{path}{line}: not YAML: {problem}") from error


def _names(path: Path, content: dict[Any, Any]) -> tuple[str, ...]:
    names, count = content.get("names"), content.get("nc")
    if isinstance(names, list):
        found = [str(name) for name in names]
    elif isinstance(names, dict):
        if not all(isinstance(key, int) and key >= 0 for key in names) or not names or max(names) > 100_000:
            raise UsageError(f"{path}: keys of `names` must be class numbers; received {list(names)[:5]}")
        found = [str(names.get(number, "")) for number in range(max(names) + 1)]
    elif names is None and isinstance(count, int) and 0 < count <= 100_000:
        found = [f"class {number}" for number in range(count)]
    else:
        raise UsageError(f"{path}: `names` must be a list of class names, or number: name")
    if isinstance(count, int) and count != len(found):
        raise UsageError(f"{path}: `nc` is {count}, `names` has {len(found)}")
    if not any(found):
        raise UsageError(f"{path}: `names` names no class")
    return tuple(found)


def _root(path: Path, named: object) -> Path:
    if named in (None, ""):
        return path.parent
    if not isinstance(named, str):
        raise UsageError(f"{path}: `path` is {named!r}; expected a folder")
    root = Path(named).expanduser()
    beside = path.parent / root
    # If `path` refers to another machine, the file's own folder is used.
    return next((folder for folder in (beside, root) if folder.is_dir()), path.parent)


def _images(path: Path, part: str, value: object, root: Path) -> tuple[Path, ...]:
    entries = value if isinstance(value, list) else [value]
    found: list[Path] = []
    for entry in entries:
        if not isinstance(entry, str) or not entry:
            raise UsageError(
                f"{path}: `{part}` is {entry!r}; expected a folder, or a .txt file that lists images"
            )
        place = _place(path, entry, root)
        if place is None:
            raise SourceError(f"{path}: `{part}: {entry}` does not exist below {root}")
        found += _listed(place, root) if place.is_file() else images_below(place)
    return tuple(dict.fromkeys(found))


def _place(path: Path, entry: str, root: Path) -> Path | None:
    """Resolve an entry; Roboflow writes ``../train/images`` for a folder next to the file."""
    named = Path(entry).expanduser()
    candidates = [root / named, path.parent / named]
    if named.parts[:1] == ("..",):
        candidates.append(path.parent / Path(*named.parts[1:]))
    return next((candidate for candidate in candidates if candidate.exists()), None)


def _listed(file: Path, root: Path) -> list[Path]:
    """Images of a text file, one on each line: relative to the file if they begin with ``./``, else to the root."""
    found = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        bases = (file.parent,) if name.startswith("./") else (root, file.parent)
        image = next((base / name for base in bases if (base / name).is_file()), None)
        if image is None:
            raise SourceError(f"{file}:{number}: {name} does not exist below {bases[0]}")
        if image.suffix.lower() not in IMAGE_SUFFIXES:
            raise UsageError(f"{file}:{number}: {name} is not an image ({' '.join(sorted(IMAGE_SUFFIXES))})")
        found.append(image)
    if not found:
        raise SourceError(f"{file} lists no image")
    return found
