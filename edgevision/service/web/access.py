"""Who may come in: the token, the cookie it is exchanged for, and where a request comes from."""

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
"""Different wrong tokens from one address within `WINDOW_S`, after which it is turned away for the rest of it."""
WINDOW_S = 60.0
MOST_ADDRESSES = 1000
"""Addresses that wrong tokens are remembered of; the longest known go first."""

Proof = Literal["none", "cookie", "bearer"]
"""How a visitor has shown that it knows the token; none where none is needed."""


@dataclass(slots=True)
class _Guesses:
    began_s: float
    seen: set[bytes] = field(default_factory=set)


class Guard:
    """Holds what visitors bring against the token. One thread asks; `clock` gives seconds.

    The cookie is not the token but is made from it, so that it holds over restarts with the same token and does not
    give the token away. Wrong values are counted once each: a page left open with an old cookie is no guesser.
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token
        self._clock = clock
        self._guesses: OrderedDict[str, _Guesses] = OrderedDict()
        key = (token or "").encode()
        self.cookie = hmac.new(key, b"edgevision live page", hashlib.sha256).hexdigest()

    def knows(self, token: str, address: str) -> bool:
        """True if that is the token; a wrong one is held against the address."""
        return self._token is None or self._same(token, self._token, address)

    def proof(self, bearer: str | None, cookie: str | None, address: str) -> Proof | None:
        """What a request shows; None if it shows nothing that is right."""
        if self._token is None:
            return "none"
        if bearer is not None:
            return "bearer" if self._same(bearer, self._token, address) else None
        if cookie is not None and self._same(cookie, self.cookie, address):
            return "cookie"
        return None

    def locked_s(self, address: str) -> float:
        """How long the address is still turned away; 0.0 if it is not."""
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
    """True if a request calls the page by a name that it has.

    A page of a stranger can have its own name point at this machine (DNS rebinding), and the browser then takes both
    for one: where no token stands in the way, the name in the request is what tells them apart.
    """
    host = _host_of(host_header)
    if host is None:
        return False
    if host in {name.lower() for name in allowed} or is_loopback(host):
        return True
    return not loopback and not allowed


def origin_is_ours(origin: str, host_header: str) -> bool:
    """True if the page that sends a request is the one at which it arrives; a proxy may have ended its TLS."""
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
