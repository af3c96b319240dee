"""Fixtures of hostile checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.attacks import PLANT


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is written if a hostile pickle runs a command, evaluates code, or imports a certain module."""
    marker = tmp_path / "executed"
    (tmp_path / f"{PLANT}.py").write_text(f"open({str(marker)!r}, 'w').close()\ndef f(*a): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return marker
