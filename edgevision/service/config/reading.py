"""Reads a deployment's file and reports all mistakes with their lines."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgevision.errors import UsageError
from edgevision.service.config.addressing import holds_password, holds_secret
from edgevision.service.config.checks import Checker
from edgevision.service.config.document import Document, NotTomlError, Problem, parse
from edgevision.service.config.schema import Reader
from edgevision.service.config.settings import Settings


@dataclass(frozen=True, slots=True)
class DeploymentReading:
    """Result of reading a file."""

    file: Path
    settings: Settings | None
    """None if there are problems."""
    problems: tuple[Problem, ...]
    """Sorted by line."""
    warnings: tuple[Problem, ...]

    def require(self) -> Settings:
        """The settings; raises `UsageError` with every problem, one per line."""
        if self.settings is None:
            count = len(self.problems)
            heading = f"{self.file} has {'a mistake' if count == 1 else f'{count} mistakes'}:"
            raise UsageError("\n".join([heading, *map(str, self.problems)]))
        return self.settings


def read_deployment(file: Path, environment: Mapping[str, str] = os.environ) -> DeploymentReading:
    """Read a file and check it against its bundle and this machine; raises `UsageError` if it cannot be read."""
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    try:
        document = parse(data, file.name)
    except NotTomlError as error:
        return DeploymentReading(file, None, (error.problem,), ())
    reader = Reader(document, environment)
    settings = reader.table(Settings, document.data, folder=file.absolute().parent)
    checker = Checker(settings, reader)
    checker.check()
    problems = tuple(sorted(reader.problems, key=lambda problem: problem.line))
    warnings = (*_readable_passwords(document, mode), *checker.warnings)
    in_order = tuple(sorted(warnings, key=lambda problem: problem.line))
    return DeploymentReading(file, None if problems else settings, problems, in_order)


def _readable_passwords(document: Document, mode: int) -> list[Problem]:
    """A warning for each password in a file that every user can read."""
    if not mode & stat.S_IROTH:
        return []
    found = []
    for table in ("camera", "sink"):
        entries = document.data.get(table)
        for number, entry in enumerate(entries if isinstance(entries, list) else []):
            values = entry if isinstance(entry, dict) else {}
            for key in ("address", "token", "secret"):
                value = values.get(key)
                spelled_out = holds_password if key == "address" else holds_secret
                if isinstance(value, str) and spelled_out(value):
                    text = (
                        f"{table}[{number}].{key}: every user can read this password; run: chmod o-r"
                        f" {document.name}, or write ${{NAME}} and set the variable"
                    )
                    found.append(document.problem((table, number, key), text))
    return found
