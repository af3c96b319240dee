"""Bundles that come with the package, opened by name."""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import edgevision
from edgevision.storage import atomic
from edgevision.storage.cache import cache_folder

LOG = logging.getLogger(__name__)
FOLDER = Path(edgevision.__file__).parent / "bundles"
MANIFEST = "bundle.json"
"""A bundle's description; a folder with this file is a bundle."""


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A bundle of the package, and its accuracy on images that were not used for training."""

    name: str
    recipe: str
    accuracy: str
    use: str

    @property
    def path(self) -> Path:
        """Folder in the installed package."""
        return FOLDER / self.name


PACKAGED = (
    PackagedModel("street", "yolov5", "AP 9.7, AP50 20.4 (person AP50 46.8), COCO", "people and vehicles"),
    PackagedModel("unet", "unet", "mIoU 65.1, CamVid", "street scenes, 11 classes"),
    PackagedModel("cnn", "cnn", "top-1 76.4 %, CIFAR-10", "small images, 10 classes"),
)
"""Figures are those of `edgevision/weights/NAME.md`; for `street`, those of the included bundle."""


def packaged_names() -> tuple[str, ...]:
    """Names that `Bundle.open` accepts in place of a path."""
    return tuple(model.name for model in PACKAGED if (model.path / MANIFEST).is_file())


def bundle_path(path: Path) -> Path:
    """A bundle's folder: `path` itself, or a copy of the packaged bundle of that name.

    A folder of the user's with the same name is preferred. The copy is in the cache folder, because records are written
    into it; without a writable cache the installed folder is used as it is.
    """
    if path.exists() or str(path) not in packaged_names():
        return path
    source = FOLDER / str(path)
    digest = hashlib.sha256((source / MANIFEST).read_bytes()).hexdigest()[:12]
    copy = cache_folder() / "bundles" / f"{path}-{digest}"
    if (copy / MANIFEST).is_file():
        return copy
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with atomic.staged_folder(copy, may_replace=lambda _: True) as folder:
            for file in source.iterdir():
                shutil.copyfile(file, folder / file.name)
    except OSError as error:
        LOG.info("cannot copy %s to the cache (%s): records of this machine are not kept", source, error)
        return source
    return copy
