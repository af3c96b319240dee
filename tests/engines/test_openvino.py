"""OpenVINO in a process that receives signals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.brightness import write_brightness_bundle

PROGRAM = """
import gc, os, signal, sys
from edgevision import open_session

received = []
signal.signal(signal.SIGHUP, lambda *_: received.append(1))
first = open_session(sys.argv[1], engine="openvino")
second = open_session(sys.argv[1], engine="openvino")
first.close()
del first
gc.collect()
second.close()
del second
gc.collect()
os.kill(os.getpid(), signal.SIGHUP)
print(len(received))
"""


def test_a_signal_is_handled_after_two_sessions_were_closed_in_the_order_of_their_opening(
    tmp_path: Path,
) -> None:
    pytest.importorskip("openvino")
    bundle = tmp_path / "bundle"
    write_brightness_bundle(bundle)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(bundle)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "1\n"), ran.stderr
