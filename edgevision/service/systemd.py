"""Notifications to systemd by the datagrams of sd_notify(3); without a service manager nothing is sent."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 1.0


class ServiceManager:
    """Notification socket of systemd; each call sends one datagram, and a send error is only logged."""

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        """Maximum period of `alive` calls; None: no limit."""
        self._address = None if address is None else address.replace("@", "\0", 1)
        self._status = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ServiceManager:
        """From `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`; without a socket nothing is sent."""
        address = environment.get("NOTIFY_SOCKET", "")
        usec = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        watchdog_s = int(usec) / 1e6 if ours and usec.isdecimal() and int(usec) else None
        return cls(address if address.startswith(("/", "@")) else None, watchdog_s)

    @property
    def listens(self) -> bool:
        """True if a service manager listens."""
        return self._address is not None

    def ready(self) -> None:
        """Report that the service has started or completed a reload."""
        self._send("READY=1")

    def alive(self) -> None:
        """Report that the service works."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Send a status line; equal lines in a row are sent once."""
        line = " ".join(text.split())
        if line != self._status and self._send(f"STATUS={line}"):
            self._status = line

    def reloading(self) -> None:
        """Report the start of a reload; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Report the start of the shutdown."""
        self._send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Request this much time from now on for the current step, whatever the time-out."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def _send(self, text: str) -> bool:
        if self._address is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(SEND_TIMEOUT_S)
                out.sendto(text.encode(), self._address)
        except OSError as error:
            log.warning("cannot send %s to the service manager: %s", text.split("=")[0], error)
            return False
        return True
