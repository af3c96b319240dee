"""Runs the program gst-launch-1.0, with pipes for its data."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgevision.errors import SourceError

LAUNCHER = "gst-launch-1.0"
PACKAGES = "sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
KEPT_WORDS = 16_384
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class LaunchedProgram:
    """A running pipeline. Standard output is not used, because the driver of CSI cameras writes messages there."""

    def __init__(self, words: Sequence[str], pipes: Sequence[int]) -> None:
        """Start a pipeline that inherits the file descriptors `pipes`; raises `SourceError`."""
        program = shutil.which(LAUNCHER)
        if program is None:
            raise SourceError(f"{LAUNCHER} is not installed: {PACKAGES}")
        self._process = subprocess.Popen(
            [program, "-q", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=pipes,
        )
        assert self._process.stderr is not None
        self._errors = self._process.stderr
        os.set_blocking(self._errors.fileno(), False)
        self._messages = b""

    @property
    def messages_fd(self) -> int:
        """The pipe of its messages; a full pipe would block the program."""
        return self._errors.fileno()

    @property
    def returncode(self) -> int | None:
        """Exit code once the program has ended."""
        return self._process.poll()

    @property
    def cpu_s(self) -> float:
        """CPU time so far, in steps of the kernel's clock (usually 10 ms)."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS

    def drain(self) -> bool:
        """Keep the end of the program's messages; False once their pipe is closed."""
        data = self._errors.read()
        self._messages = (self._messages + (data or b""))[-KEPT_WORDS:]
        return data != b""

    def last_error(self) -> str:
        """The first error in the program's messages, in one line."""
        with contextlib.suppress(subprocess.TimeoutExpired):  # messages may follow the last frame
            self._process.wait(1)
        self.drain()
        errors = re.findall(
            r"(?:ERROR|WARNING): (?:from element \S+ )?(.+)", self._messages.decode(errors="replace")
        )
        return f"the pipeline ended: {errors[0].strip()}" if errors else "the pipeline ended"

    def terminate(self) -> None:
        """Ask the program to end."""
        if self._process.poll() is None:
            self._process.terminate()

    def close(self, within_s: float = 2.0) -> None:
        """End the program; it is killed if it takes longer."""
        self.terminate()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def pipeline_words(pipeline: str) -> list[str]:
    """Split like a shell, without running one."""
    try:
        return shlex.split(pipeline)
    except ValueError as error:
        raise SourceError(f"cannot split the pipeline {pipeline!r} into words: {error}") from error
