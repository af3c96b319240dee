from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.errors import UsageError
from edgevision.service.web.options import TOKEN_VARIABLE, PageOptions, is_loopback, read_token

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.5", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_whoever_is_reached_by_others_needs_a_token() -> None:
    assert not PageOptions().needs_token
    assert PageOptions(token=TOKEN).needs_token
    assert PageOptions(host="0.0.0.0").needs_token
    assert PageOptions(allowed_hosts=("cameras.example.org",)).needs_token


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", -1),
        ("port", 65536),
        ("max_clients", 0),
        ("video_per_s", 0.0),
        ("video_per_s", 61.0),
        ("jpeg_quality", 0),
        ("token", "short"),
        ("token", TOKEN + " b"),
        ("token", TOKEN + "ä"),
        ("token", TOKEN + "\n"),
    ],
)
def test_invalid_values_are_refused(field: str, value: object) -> None:
    with pytest.raises(UsageError, match=field):
        PageOptions(**{field: value})  # type: ignore[arg-type]  # one of the fields


def test_a_token_file_takes_precedence_over_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\nmore\n")
    file.chmod(0o600)
    assert read_token(file, {TOKEN_VARIABLE: "f" * 20}) == TOKEN
    assert read_token(None, {TOKEN_VARIABLE: f" {TOKEN}\n"}) == TOKEN
    assert read_token(None, {}) is None


def test_a_token_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        read_token(file, {})


@pytest.mark.parametrize(("content", "message"), [(b"", "has 0 characters"), (b"\xff" * 20, "ASCII")])
def test_a_token_file_that_holds_none(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(UsageError, match=message):
        read_token(file, {})


def test_a_token_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the token"):
        read_token(tmp_path / "none", {})
