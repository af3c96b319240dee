"""Data for training runs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch


def _synthetic() -> ModuleType:
    spec = importlib.util.spec_from_file_location("synthetic", Path(__file__).parent / "synthetic.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["synthetic"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def class_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of two classes, ``train/`` and ``val/``."""
    folder: Path = _synthetic().class_folders(tmp_path_factory.mktemp("classes"))
    return folder


@pytest.fixture(scope="session")
def box_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO file with its images beside it."""
    path: Path = _synthetic().boxes(tmp_path_factory.mktemp("boxes"))
    return path


@pytest.fixture(scope="session")
def instance_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YOLO folder of polygons, two of whose four numbers are in use."""
    folder: Path = _synthetic().instances(tmp_path_factory.mktemp("instances") / "data")
    return folder


@pytest.fixture(scope="session")
def many_boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of larger images, enough of them for epochs of several steps."""
    path: Path = _synthetic().boxes(tmp_path_factory.mktemp("many"), images=48, side=96)
    return path


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Networks this small are slower on several threads, and runs repeat to the bit on one."""
    torch.set_num_threads(1)
