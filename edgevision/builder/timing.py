"""How fast kernels were found to be, kept from build to build: the next one need not time them again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.manifest import Platform
from edgevision.engines.tensorrt.store import unwritable
from edgevision.errors import UsageError
from edgevision.storage import atomic

_LARGEST = 1 << 30
"""No builder's cache comes near this; what does is something else."""


@dataclass(frozen=True, slots=True)
class TimingCacheFile:
    """A timing cache on disk. One of another GPU or version is of no use, so its name says what it is for."""

    path: Path
    chosen: bool
    """The user named it: it must be readable."""

    @classmethod
    def for_build(
        cls, library: Library, root: Path, platform: Platform, chosen: Path | None
    ) -> TimingCacheFile | None:
        """The user's file, else the bundle's own; None for a library that keeps none.

        Kernels are as fast as the GPU is and the clocks are that its power mode allows: each has a file of its own.
        """
        if not library.dialect.timing_cache:
            if chosen is not None:
                raise UsageError(
                    f"{library.name} times nothing when it builds: --timing-cache has no use there"
                )
            return None
        if chosen is not None:
            return cls(chosen, chosen=True)
        facts = f"{platform.gpu_text} {platform.power_mode or ''}".lower()
        name = re.sub(r"[^a-z0-9]+", "-", facts).strip("-")
        return cls(root / f"timing-{library.flavour}-{library.version}-{name}.cache", chosen=False)

    def read(self) -> bytes:
        """What earlier builds learned; empty if there was none. Raises `UsageError` if a chosen one is unreadable."""
        try:
            if self.path.stat().st_size > _LARGEST:
                raise UsageError(f"{self.path} has {self.path.stat().st_size} bytes: it is no timing cache")
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            if self.chosen:
                raise UsageError(f"cannot read the timing cache {self.path}: {error.strerror}") from error
            return b""

    def write(self, data: bytes) -> None:
        """Keep what was learned; an empty cache replaces nothing. Raises `BundleError` if it cannot be written."""
        if not data:
            return
        try:
            atomic.write_file(self.path, data)
        except OSError as error:
            raise unwritable(self.path, error) from error
