"""Builds checkpoints of YOLOv5 and the Ultralytics package: pickled models of classes that are written here.

The classes of `forged_layers` stand in ``models.common``, ``models.experimental`` and ``models.yolo`` while one is
written, those of `forged_ultralytics` in ``ultralytics.nn``, and are gone before it is read.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.models import forged_layers
from tests.models.forged_layers import COMMON, EXPERIMENTAL, YOLO, DetectionModel, Model, Row
from tests.models.forged_ultralytics_heads import PLACES

Places = dict[str, tuple[type[nn.Module], ...]]
"""Classes by the module that a pickle names."""

YOLOV5_PLACES: Places = {"models.common": COMMON, "models.experimental": EXPERIMENTAL, "models.yolo": YOLO}


class Forge:
    """Gives the layers' classes as attributes, makes models of rows, and writes them as checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getattr__(self, name: str) -> Any:
        return getattr(forged_layers, name)

    def model(
        self,
        rows: Sequence[Row],
        names: Any = ("cat", "dog"),
        strides: Sequence[float] = (8,),
        kind: type[Model] = DetectionModel,
    ) -> Model:
        """A model with statistics and scales that differ from layer to layer, in eval mode."""
        torch.manual_seed(0)
        model = kind(rows, list(names) if isinstance(names, tuple) else names, strides)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.normal_(module.running_mean, 0, 0.1)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.1)
        return model.eval()

    def save(self, value: object, name: str = "forged.pt") -> Path:
        """Pickle as YOLOv5's training does."""
        return self._save(value, name, YOLOV5_PLACES)

    def save_ultralytics(self, value: object, name: str = "forged.pt") -> Path:
        """Pickle as the Ultralytics package does."""
        return self._save(value, name, PLACES)

    def _save(self, value: object, name: str, places: Places) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            for place, classes in places.items():
                parts = place.split(".")
                for count in range(1, len(parts)):
                    package = ".".join(parts[:count])
                    patch.setitem(sys.modules, package, types.ModuleType(package))
                module = types.ModuleType(place)
                patch.setitem(sys.modules, place, module)
                for cls in classes:
                    setattr(module, cls.__name__, cls)
                    patch.setattr(cls, "__module__", place)
            torch.save(value, self.folder / name)
        assert not {place.split(".")[0] for place in places} & set(sys.modules)
        return self.folder / name


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    """A `Forge` that writes to the test's folder."""
    return Forge(tmp_path)


@pytest.fixture
def random_image() -> Callable[[int], torch.Tensor]:
    """One image ``[1,3,size,size]`` of noise."""

    def image(size: int = 64) -> torch.Tensor:
        return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))

    return image
