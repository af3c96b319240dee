"""Folders of classes, zips and idx files."""

from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.errors import SourceError, UsageError
from edgevision.train.data.class_images import read_classes
from edgevision.train.tasks.classifier import balanced_order


def png(value: int, side: int = 8) -> bytes:
    done, data = cv2.imencode(".png", np.full((side, side, 3), value, np.uint8))
    assert done
    return data.tobytes()


def test_folders_with_a_held_part(class_data: Path) -> None:
    split = read_classes(class_data, None, longest_side=64)
    assert split.train.classes == ("disc", "square")
    assert split.train.counts() == {"disc": 24, "square": 24}
    assert split.held.counts() == {"disc": 12, "square": 12}
    assert split.train.pictures[0].shape == (16, 16, 3)


def test_a_test_part_is_not_used(tmp_path: Path) -> None:
    for part, value in (("train", 10), ("test", 200)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(10):
                (tmp_path / part / name / f"{number}.png").write_bytes(png(value))
    split = read_classes(tmp_path, None, longest_side=8)
    assert split.train.counts() == {"cat": 9, "dog": 9}
    assert split.held.counts() == {"cat": 1, "dog": 1}
    assert all(picture.max() == 10 for picture in (*split.train.pictures, *split.held.pictures))
    given = read_classes(tmp_path, tmp_path, longest_side=8).held
    assert len(given) == 20, "named as --val it is what was asked for"


def test_a_zip_within_one_folder_and_without_a_held_part(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in (("cat", 10), ("dog", 200)):
            for number in range(20):
                archive.writestr(f"pets/{name}/{number}.png", png(value))
        archive.writestr("pets/readme.txt", "hello")
    split = read_classes(path, None, longest_side=4)
    assert split.train.counts() == {"cat": 18, "dog": 18}
    assert split.held.counts() == {"cat": 2, "dog": 2}
    for picture, label in zip(split.train.pictures, split.train.labels, strict=True):
        assert picture.shape == (4, 4, 3)
        assert picture[0, 0, 0] == (10, 200)[label]


def test_a_held_part_of_its_own_with_fewer_classes(class_data: Path, tmp_path: Path) -> None:
    (tmp_path / "square").mkdir()
    (tmp_path / "square" / "a.png").write_bytes(png(7))
    assert read_classes(class_data, tmp_path, longest_side=64).held.labels.tolist() == [1]
    (tmp_path / "square").rename(tmp_path / "ring")
    with pytest.raises(UsageError, match="class 'ring' of the validation data"):
        read_classes(class_data, tmp_path, longest_side=64)


def idx(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_idx_files(tmp_path: Path) -> None:
    labels = np.arange(30, dtype=np.uint8) % 3
    pixels = np.repeat(labels[:, None, None] * 100, 4, 1).repeat(4, 2)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    split = read_classes(tmp_path, None, longest_side=64)
    assert split.train.classes == ("0", "1", "2")
    assert (len(split.train), len(split.held)) == (27, 3)
    for picture, label in zip(split.train.pictures, split.train.labels, strict=True):
        assert picture.shape == (4, 4, 3)
        assert picture[0, 0].tolist() == [100 * label] * 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\0\0\x08\x03\0\0\0\x02", "not an idx file of 1 dimensions"),
        (b"\0\0\x0d\x01\0\0\0\x02ab", "it begins with 00000d01"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "has the header 5: expected 13 bytes, received 11"),
        (b"\0\0\x08\x01\0\0\0\x03abc", "holds 2 images"),
    ],
)
def test_damaged_idx_files(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "images-idx3").write_bytes(idx(np.zeros((2, 4, 4), np.uint8)))
    (tmp_path / "labels-idx1").write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read_classes(tmp_path, None, longest_side=64)


def test_what_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no image"):
        read_classes(tmp_path, None, longest_side=64)
    (tmp_path / "a.png").write_bytes(png(1))
    with pytest.raises(UsageError, match=r"a\.png is not in a class folder"):
        read_classes(tmp_path, None, longest_side=64)
    with pytest.raises(UsageError, match="neither a folder nor a zip"):
        read_classes(tmp_path / "a.png", None, longest_side=64)
    (tmp_path / "cat").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "b.png").write_bytes(b"not a picture")
    with pytest.raises(SourceError, match=r"cat/b\.png cannot be read"):
        read_classes(tmp_path, None, longest_side=64)


def test_mnist(data_dir: Path) -> None:
    split = read_classes(data_dir / "mnist", None, longest_side=64)
    assert len(split.train) + len(split.held) == 10000
    assert split.train.classes == tuple("0123456789")


def test_balance_draws_classes_equally_and_images_fairly() -> None:
    labels = np.array([0] * 95 + [2] * 5, np.int64)
    order = balanced_order(labels, 3, np.random.default_rng(0))
    assert len(order) == 100
    shown = np.bincount(order, minlength=100)
    assert shown[95:].tolist() == [10] * 5
    assert shown[:95].max() == 1
    assert shown[:95].sum() == 50
