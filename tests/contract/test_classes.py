"""Class names in a text file."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.contract.classes import read_class_names
from edgevision.errors import UsageError


def test_names_in_the_order_of_lines(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("person\ntraffic light \r\nchien de berger\n\n")
    assert read_class_names(tmp_path / "names.txt") == ("person", "traffic light", "chien de berger")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "contains no class name"),
        (b"\n\n", "contains no class name"),
        (b"a\n\nb\n", "names.txt:2 is empty"),
        (b"a\nb\na\n", "names.txt:3 repeats 'a' of line 1"),
        (b"\xff\xfe", "cannot read .* as a text file"),
    ],
)
def test_invalid_input_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_class_names(tmp_path / "names.txt")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_class_names(tmp_path / "names.txt")
