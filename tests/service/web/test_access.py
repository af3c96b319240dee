from __future__ import annotations

import pytest

from edgevision.service.web.access import (
    MOST_ADDRESSES,
    WINDOW_S,
    WRONG_TOKENS,
    Guard,
    host_is_ours,
    origin_is_ours,
)

TOKEN = "a-token-that-is-long-enough"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_without_a_token_access_is_open() -> None:
    guard = Guard(None)
    assert guard.proof(None, None, "a") == "none"
    assert guard.accepts("anything", "a")


def test_token_and_cookie_are_not_interchangeable() -> None:
    guard = Guard(TOKEN)
    assert guard.proof(TOKEN, None, "a") == "bearer"
    assert guard.proof(None, guard.cookie, "a") == "cookie"
    assert guard.proof(None, TOKEN, "a") is None
    assert guard.proof(guard.cookie, None, "a") is None
    assert guard.proof(None, None, "a") is None
    assert guard.proof("wrong", guard.cookie, "a") is None, "who brings a bearer is judged by it"
    assert guard.proof("ä", None, "a") is None


def test_the_cookie_holds_over_restarts_and_changes_with_the_token() -> None:
    assert Guard(TOKEN).cookie == Guard(TOKEN).cookie != Guard(TOKEN + "x").cookie
    assert TOKEN not in Guard(TOKEN).cookie


def test_guessers_are_turned_away_for_a_while() -> None:
    clock = Clock()
    guard = Guard(TOKEN, clock)
    for number in range(WRONG_TOKENS):
        assert guard.locked_s("a") == 0.0
        assert not guard.accepts(f"guess {number}", "a")
    assert guard.locked_s("a") == WINDOW_S
    assert guard.locked_s("b") == 0.0, "others are not"
    clock.now_s += WINDOW_S - 1
    assert guard.locked_s("a") == pytest.approx(1.0)
    clock.now_s += 1
    assert guard.locked_s("a") == 0.0
    assert guard.accepts(TOKEN, "a")


def test_one_old_cookie_is_not_locked_out() -> None:
    guard = Guard(TOKEN)
    for _ in range(10 * WRONG_TOKENS):
        assert guard.proof(None, "of another server", "a") is None
    assert guard.locked_s("a") == 0.0


def test_slow_guesses_restart_the_window() -> None:
    clock = Clock()
    guard = Guard(TOKEN, clock)
    for number in range(WRONG_TOKENS - 1):
        guard.accepts(f"guess {number}", "a")
    clock.now_s += WINDOW_S + 1
    guard.accepts("another", "a")
    assert guard.locked_s("a") == 0.0


def test_many_addresses_take_no_more_memory() -> None:
    guard = Guard(TOKEN)
    for number in range(MOST_ADDRESSES + 10):
        guard.accepts("wrong", str(number))
    assert len(guard._guesses) == MOST_ADDRESSES


@pytest.mark.parametrize(
    ("header", "loopback", "allowed", "expected"),
    [
        ("127.0.0.1:8080", True, (), True),
        ("localhost:8080", True, (), True),
        ("[::1]:8080", True, (), True),
        ("attacker.example:8080", True, (), False),
        ("127.0.0.1.attacker.example", True, (), False),
        ("", True, (), False),
        ("[::1", True, (), False),
        ("cameras.example.org", True, ("cameras.example.org",), True),
        ("CAMERAS.example.org:443", True, ("cameras.example.org",), True),
        ("other.example.org", True, ("cameras.example.org",), False),
        ("192.168.0.5:8080", False, (), True),
        ("box.local:8080", False, (), True),
        ("box.local:8080", False, ("cameras.example.org",), False),
        ("", False, (), False),
    ],
)
def test_names_of_the_page(header: str, loopback: bool, allowed: tuple[str, ...], expected: bool) -> None:
    assert host_is_ours(header, loopback=loopback, allowed=allowed) is expected


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://127.0.0.1:8081", "127.0.0.1:8080", False),
        ("http://localhost:8080", "127.0.0.1:8080", False),
        ("https://cameras.example.org", "cameras.example.org", True),
        ("https://cameras.example.org:443", "cameras.example.org", True),
        ("http://cameras.example.org", "cameras.example.org:80", True),
        ("https://cameras.example.org.attacker.example", "cameras.example.org", False),
        ("https://user@cameras.example.org", "cameras.example.org", False),
        ("null", "cameras.example.org", False),
        ("file://cameras.example.org", "cameras.example.org", False),
        ("", "", False),
    ],
)
def test_origins(origin: str, host: str, expected: bool) -> None:
    assert origin_is_ours(origin, host) is expected
