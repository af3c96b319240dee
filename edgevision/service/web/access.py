"""Access control of the page: token, cookie, Host and Origin."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from edgevision.service.web.options import is_loopback

WRONG_TOKENS = 10
"""Number of different wrong tokens from one address within `WINDOW_S`, after which it is locked out until the end."""
WINDOW_S = 60.0
MOST_ADDRESSES = 1000
"""Maximum number of addresses with recorded wrong tokens; the oldest are removed first."""

Proof = Literal["none", "cookie", "bearer"]
"""Proof of the token in a request; "none" if no token is required."""


@dataclass(slots=True)
class _Guesses:
    began_s: float
    seen: set[bytes] = field(default_factory=set)


class Guard:
    """Compares tokens and cookies of visitors with the token. One thread calls it; `clock` returns seconds.

    The cookie is derived from the token. It stays valid over restarts with the same token and does not reveal the
    token. Each wrong value counts once, so that a page left open with an old cookie is not locked out.
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token
        self._clock = clock
        self._guesses: OrderedDict[str, _Guesses] = OrderedDict()
        key = (token or "").encode()
        self.cookie = hmac.new(key, b"edgevision live page", hashlib.sha256).hexdigest()

    def accepts(self, token: str, address: str) -> bool:
        """True if the token is correct; a wrong one is counted for the address."""
        return self._token is None or self._same(token, self._token, address)

    def proof(self, bearer: str | None, cookie: str | None, address: str) -> Proof | None:
        """The proof in a request; None if there is no valid one."""
        if self._token is None:
            return "none"
        if bearer is not None:
            return "bearer" if self._same(bearer, self._token, address) else None
        if cookie is not None and self._same(cookie, self.cookie, address):
            return "cookie"
        return None

    def locked_s(self, address: str) -> float:
        """Remaining time of the address's lockout; 0.0 if there is none."""
        guesses = self._guesses.get(address)
        if guesses is None or len(guesses.seen) < WRONG_TOKENS:
            return 0.0
        return max(guesses.began_s + WINDOW_S - self._clock(), 0.0)

    def _same(self, given: str, wanted: str, address: str) -> bool:
        if hmac.compare_digest(given.encode(), wanted.encode()):
            return True
        now_s = self._clock()
        guesses = self._guesses.get(address)
        if guesses is None or now_s - guesses.began_s > WINDOW_S:
            self._guesses[address] = guesses = _Guesses(now_s)
            self._guesses.move_to_end(address)
            while len(self._guesses) > MOST_ADDRESSES:
                self._guesses.popitem(last=False)
        if len(guesses.seen) < WRONG_TOKENS:
            guesses.seen.add(hashlib.sha256(given.encode()).digest())
        return False


def host_is_ours(host_header: str, *, loopback: bool, allowed: tuple[str, ...]) -> bool:
    """True if the Host header of a request names this page.

    With DNS rebinding, another site's name resolves to this machine, and the browser treats both as one origin. Without
    a token, only the Host header distinguishes them.
    """
    host = _host_of(host_header)
    if host is None:
        return False
    if host in {name.lower() for name in allowed} or is_loopback(host):
        return True
    return not loopback and not allowed


def origin_is_ours(origin: str, host_header: str) -> bool:
    """True if a request's Origin is this page; a proxy may have terminated its TLS."""
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https"):
        return False
    default = ":443" if parts.scheme == "https" else ":80"
    return parts.netloc.lower().removesuffix(default) == host_header.lower().removesuffix(default)


def _host_of(header: str) -> str | None:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None
