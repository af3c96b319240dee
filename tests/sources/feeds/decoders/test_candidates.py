"""Hardware decoders by the machine's facts, and the programs that they need."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.sources.feeds.decoders import candidates
from edgevision.sources.feeds.decoders.candidates import JETSON, NVIDIA, DecoderCandidate, candidates_here


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str, knows: str = "") -> None:
    """Make these the only programs; gst-inspect-1.0 knows the elements of the pattern `knows`."""
    for name in names:
        program = folder / name
        program.write_text(f'#!/bin/sh\ncase "$2" in {knows or "none"}) exit 0;; esac\nexit 1\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    candidates.has_element.cache_clear()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    candidates.has_element.cache_clear()


def test_machines(tmp_path: Path) -> None:
    assert candidates_here(tmp_path) == ()
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    assert candidates_here(tmp_path) == (NVIDIA,)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text(
        "# R36 (release), REVISION: 4.0, GCID: 1, BOARD: generic\n"
    )
    assert candidates_here(tmp_path) == (JETSON,)


def test_a_container_without_kmod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NVIDIA's plugin runs lsmod, and without it treats a Jetson as a discrete GPU and delivers nothing."""
    tools = ("gst-launch-1.0", "gst-inspect-1.0")
    programs(tmp_path, monkeypatch, *tools, knows="nvv4l2decoder|nvvidconv")
    reason = JETSON.missing()
    assert reason == "NVIDIA's plugin needs the program lsmod to recognise a Jetson: sudo apt install kmod"
    programs(tmp_path, monkeypatch, *tools, "lsmod", knows="nvv4l2decoder|nvvidconv")
    assert JETSON.missing() is None


def test_missing_parts_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch)
    assert str(JETSON.missing()).startswith("gst-launch-1.0 is not installed: sudo apt install")
    programs(tmp_path, monkeypatch, "gst-launch-1.0", "gst-inspect-1.0", "lsmod", knows="nvv4l2decoder")
    assert JETSON.missing() == "GStreamer has no element nvvidconv"
    assert NVIDIA.missing() is None


def test_an_inspector_that_hangs_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, "gst-launch-1.0")
    inspector = tmp_path / "gst-inspect-1.0"
    inspector.write_text("#!/bin/sh\nexec /bin/sleep 30\n")
    inspector.chmod(0o755)
    monkeypatch.setattr(candidates, "INSPECT_S", 0.2)
    assert (
        DecoderCandidate("x", "some ! video/x-raw,format=I420").missing() == "GStreamer has no element some"
    )
