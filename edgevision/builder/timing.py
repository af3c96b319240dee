"""Stores kernel timings between builds, so that later builds need not repeat them."""

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
"""Bytes; no builder's cache comes near this size."""


@dataclass(frozen=True, slots=True)
class TimingCacheFile:
    """A timing cache on disk, valid for one GPU and one version, which its name contains."""

    path: Path
    chosen: bool
    """True if the user named the file: it must then be readable."""

    @classmethod
    def for_build(
        cls, library: Library, root: Path, platform: Platform, chosen: Path | None
    ) -> TimingCacheFile | None:
        """The user's file, else the bundle's own; None for a library without a timing cache.

        Kernel timings depend on the GPU and on the clocks of its power mode: each combination has its own file.
        """
        if not library.dialect.timing_cache:
            if chosen is not None:
                raise UsageError(f"{library.name} times no kernels during a build; remove --timing-cache")
            return None
        if chosen is not None:
            return cls(chosen, chosen=True)
        facts = f"{platform.gpu_text} {platform.power_mode or ''}".lower()
        name = re.sub(r"[^a-z0-9]+", "-", facts).strip("-")
        return cls(root / f"timing-{library.flavour}-{library.version}-{name}.cache", chosen=False)

    def read(self) -> bytes:
        """Timings of earlier builds; empty if there are none.

        Raises `UsageError` if a file that the user named is unreadable.
        """
        try:
            if self.path.stat().st_size > _LARGEST:
                raise UsageError(
                    f"{self.path} has {self.path.stat().st_size} bytes, which is too large for a timing cache"
                )
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            if self.chosen:
                raise UsageError(f"cannot read the timing cache {self.path}: {error.strerror}") from error
            return b""

    def write(self, data: bytes) -> None:
        """Write the timings; an empty cache replaces nothing. Raises `BundleError` if it cannot be written."""
        if not data:
            return
        try:
            atomic.write_file(self.path, data)
        except OSError as error:
            raise unwritable(self.path, error) from error
