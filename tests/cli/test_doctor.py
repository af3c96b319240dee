"""`edgevision doctor` as it is called, with and without what the workstation has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgevision.cli.commands import doctor
from edgevision.doctor.diagnosis import Finding
from edgevision.errors import UsageError


def test_the_doctor_looks_at_everything() -> None:
    result = CliRunner().invoke(doctor.command, [])
    assert result.exit_code in (0, 1), result.exception
    for topic in (
        "onnxruntime",
        "openvino",
        "OpenCV",
        "video files",
        "--show",
        "GStreamer",
        "network cameras",
        "export",
        "cache",
    ):
        assert topic in result.output


def test_what_is_broken_sets_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Finding("broken", "thing", "is broken", "mend it")
    monkeypatch.setattr(doctor, "diagnose_engines", lambda *_: [broken])
    result = CliRunner().invoke(doctor.command, [])
    assert result.exit_code == 1
    assert "BROKEN   thing: is broken\n           mend it\n" in result.output


def test_a_device_without_torch_has_a_doctor() -> None:
    program = "\n".join(
        [
            "import sys",
            "sys.modules.update({name: None for name in ('torch', 'onnx', 'onnxslim', 'safetensors')})",
            "from edgevision.cli.root import edgevision",
            "edgevision(['doctor'], standalone_mode=False)",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "not installed: torch" in done.stdout


def test_facts_travel(tmp_path: Path) -> None:
    facts = CliRunner().invoke(doctor.command, ["--json"])
    assert facts.exit_code == 0
    (tmp_path / "facts.json").write_text(facts.output)
    here = CliRunner().invoke(doctor.command, [])
    there = CliRunner().invoke(doctor.command, ["--facts", str(tmp_path / "facts.json")])
    # Room on the disk may have changed in between.
    plain = [[line for line in run.output.splitlines() if "cache: " not in line] for run in (here, there)]
    assert plain[0] == plain[1]
    assert os.uname().nodename not in facts.output


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"device": 1}', "\0"])
def test_facts_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "facts.json").write_text(text)
    result = CliRunner().invoke(doctor.command, ["--facts", str(tmp_path / "facts.json")])
    assert isinstance(result.exception, UsageError)
    assert "is not a machine report" in str(result.exception)
