"""What a service tells systemd, by the datagrams of sd_notify(3); nothing where no service manager listens."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 1.0


class ServiceManager:
    """The socket that systemd gave a service; each call sends one datagram, and a failure to send it is only logged."""

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        """The service counts as hung unless it says `alive` at least that often; None: nobody minds."""
        self._address = None if address is None else address.replace("@", "\0", 1)
        self._status = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ServiceManager:
        """By `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`; one without a socket says nothing."""
        address = environment.get("NOTIFY_SOCKET", "")
        usec = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        watchdog_s = int(usec) / 1e6 if ours and usec.isdecimal() and int(usec) else None
        return cls(address if address.startswith(("/", "@")) else None, watchdog_s)

    @property
    def listens(self) -> bool:
        """True if there is one."""
        return self._address is not None

    def ready(self) -> None:
        """The service has started, or is done with a reload."""
        self._send("READY=1")

    def alive(self) -> None:
        """It works."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for people; the same one is not sent twice in a row."""
        line = " ".join(text.split())
        if line != self._status and self._send(f"STATUS={line}"):
            self._status = line

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The end begins."""
        self._send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """What is under way may take so long from now on, whatever time-out was set."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def _send(self, text: str) -> bool:
        if self._address is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(SEND_TIMEOUT_S)
                out.sendto(text.encode(), self._address)
        except OSError as error:
            log.warning("cannot tell the service manager %s: %s", text.split("=")[0], error)
            return False
        return True
