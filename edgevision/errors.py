"""All errors raised by edgevision.

::

    EdgevisionError                base class of all errors of edgevision
    ├── UsageError                 an invalid argument or option
    ├── CheckpointError            a checkpoint that cannot be read, or cannot be read safely
    │   └── UnsafeCheckpointError  a pickle that names a global outside the allow-list
    ├── RecipeError                a recipe that cannot be found, loaded or used
    ├── GraphError                 an ONNX graph that breaks the contract or cannot be adopted
    ├── BundleError                a bundle that is incomplete, altered, or of an unknown schema
    ├── SourceError                an image, video or camera that cannot be read
    ├── SinkError                  an output that cannot be written
    ├── EngineError                an engine that cannot be opened or that failed to run
    ├── MissingExtraError          an optional dependency is not installed
    └── VerificationError          an output that differs from the source model's

A message states what happened, the received and the expected value, and the fix.
`VerificationError` ends the command line with exit code 2, every other error with 1.
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "CheckpointError",
    "EdgevisionError",
    "EngineError",
    "GraphError",
    "MissingExtraError",
    "RecipeError",
    "SinkError",
    "SourceError",
    "UnsafeCheckpointError",
    "UsageError",
    "VerificationError",
    "first_line",
]


class EdgevisionError(Exception):
    """Base class of all errors of edgevision."""

    exit_code = 1


class UsageError(EdgevisionError):
    """An invalid argument or option."""


class CheckpointError(EdgevisionError):
    """A checkpoint that cannot be read, or cannot be read safely."""


class UnsafeCheckpointError(CheckpointError):
    """A pickle that names a global outside the allow-list; none of its code was executed."""


class RecipeError(EdgevisionError):
    """A recipe that cannot be found, loaded or used."""


class GraphError(EdgevisionError):
    """An ONNX graph that breaks the contract or cannot be adopted."""


class BundleError(EdgevisionError):
    """A bundle that is incomplete, altered, or of an unknown schema."""


class SourceError(EdgevisionError):
    """An image, video or camera that cannot be read."""


class SinkError(EdgevisionError):
    """An output that cannot be written."""


class EngineError(EdgevisionError):
    """An engine that cannot be opened or that failed to run."""


class MissingExtraError(EdgevisionError):
    """An optional dependency is not installed; the message contains the command that installs it."""

    def __init__(
        self, package: str, extra: str, purpose: str, *, beside: str | None = None, remedy: str | None = None
    ) -> None:
        """`beside` is a package that no extra can install, because its requirements conflict with others.

        `remedy` replaces the command for what pip does not install everywhere.
        """
        after = "" if beside is None else f" && pip install --no-deps {beside}"
        command = remedy or f"pip install 'edgevision[{extra}]'{after}"
        super().__init__(f"{purpose} needs {package}, which is not installed: {command}")
        self.package = package
        self.extra = extra


class VerificationError(EdgevisionError):
    """An output that differs from the source model's by more than the tolerance."""

    exit_code = 2


def first_line(error: BaseException) -> str:
    """First line of a library's error message; the name of its class if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
