"""A machine's problems and the commands that fix them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgevision.device.facts import DeviceFacts, Fact
from edgevision.device.opencv_build import OpenCvBuild
from edgevision.doctor.diagnosis import (
    Finding,
    diagnose_cameras,
    diagnose_decoder,
    diagnose_engines,
    diagnose_export,
    diagnose_network,
    diagnose_opencv,
    diagnose_room,
)

BARE = DeviceFacts(
    "cpu", 2.0, 2, 8000, "Debian", "6.1", "3.11.2", None, None, None, None, (), (), (), libraries=()
)
FULL_BUILD = OpenCvBuild("4.10.0", "QT5", ffmpeg=True, gstreamer=True, v4l=True)
BARE_BUILD = OpenCvBuild("4.10.0", None, ffmpeg=False, gstreamer=False, v4l=False)


def with_libraries(*names: str) -> DeviceFacts:
    return replace(BARE, libraries=tuple(Fact(name, "1.0") for name in names))


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def test_an_engine_is_enough() -> None:
    findings = by_name(diagnose_engines(with_libraries("onnxruntime"), lambda _: True))
    assert findings["onnxruntime"].status == "ok"
    assert findings["openvino"].remedy == "pip install 'edgevision[openvino]'"
    assert "broken" not in {finding.status for finding in findings.values()}


def test_no_engine_is_broken() -> None:
    findings = by_name(diagnose_engines(BARE, lambda _: False))
    assert findings["engines"].status == "broken"
    assert findings["engines"].remedy == "pip install 'edgevision[cpu]'"


@pytest.mark.parametrize(("gpus", "extra"), [((), "cpu"), (("NVIDIA T4",), "gpu")])
def test_two_onnxruntimes_overwrite_each_other(gpus: tuple[str, ...], extra: str) -> None:
    device = replace(with_libraries("onnxruntime", "onnxruntime-gpu"), gpus=gpus)
    finding = by_name(diagnose_engines(device, lambda _: True))["onnxruntime"]
    assert finding.status == "broken"
    assert (
        finding.remedy == f"pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'edgevision[{extra}]'"
    )


def test_an_onnxruntime_without_files_is_broken() -> None:
    finding = by_name(diagnose_engines(with_libraries("onnxruntime-gpu"), lambda _: False))["onnxruntime"]
    assert finding.status == "broken"
    assert finding.remedy == "pip install --force-reinstall --no-deps onnxruntime-gpu"


def test_a_full_opencv_has_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    findings = diagnose_opencv(FULL_BUILD, ("opencv-python 4.10.0",), jetson=False)
    assert {finding.status for finding in findings} == {"ok"}


def test_a_minimal_opencv_lists_every_fix() -> None:
    findings = by_name(diagnose_opencv(BARE_BUILD, ("opencv-python-headless 4.10.0",), jetson=True))
    assert findings["windows (--show)"].remedy == (
        "pip uninstall opencv-python-headless && pip install opencv-python"
    )
    assert "sudo apt install python3-opencv" in (findings["GStreamer"].remedy or "")
    assert "opencv-python-headless" in (findings["video files"].remedy or "")


def test_two_opencvs_overwrite_each_other() -> None:
    packages = ("opencv-python 4.10.0", "opencv-python-headless 4.9.0")
    finding = diagnose_opencv(FULL_BUILD, packages, jetson=False)[0]
    assert finding.status == "broken"
    assert finding.remedy == (
        "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python"
    )


def test_cameras_are_listed_or_reported_as_missing() -> None:
    (missing,) = diagnose_cameras([], [])
    assert missing.status == "missing"
    (found,) = diagnose_cameras(["/dev/video0", "/dev/video1"], [])
    assert (found.status, found.detail) == ("ok", "/dev/video0, /dev/video1")
    (closed,) = diagnose_cameras(["/dev/video0", "/dev/video1"], ["/dev/video1"])
    assert (closed.status, closed.detail) == ("broken", "this user may not use /dev/video1")
    assert "usermod -aG video" in (closed.remedy or "")


def test_network_cameras_are_read_by_pyav_or_without_capture_times() -> None:
    assert diagnose_network(BARE_BUILD, lambda _: True).status == "ok"
    for build, words in ((FULL_BUILD, "OpenCV reads them"), (BARE_BUILD, "neither PyAV nor")):
        finding = diagnose_network(build, lambda _: False)
        assert (finding.status, finding.remedy) == ("missing", "pip install 'edgevision[rtsp]'")
        assert words in finding.detail


def test_a_jetson_is_not_offered_what_is_not_made_for_it() -> None:
    jetson = replace(with_libraries("tensorrt"), l4t="36.4.3")
    findings = by_name(diagnose_engines(jetson, lambda _: True))
    assert set(findings) == {"onnxruntime"}


def test_missing_export_packages_are_named() -> None:
    findings = by_name(diagnose_export(lambda name: name not in ("torch", "onnxslim", "pycocotools")))
    assert findings["export"].detail == "not installed: torch, onnxslim"
    assert findings["eval"].remedy == "pip install 'edgevision[eval]'"
    assert {finding.status for finding in diagnose_export(lambda _: True)} == {"ok"}


def test_room_for_the_cache() -> None:
    assert diagnose_room(8000, "c", 5000, writable=True)[0].status == "ok"
    (full,) = diagnose_room(8000, "c", 5, writable=True)
    assert (full.status, full.detail) == ("broken", "c: 5 MiB free")
    (closed,) = diagnose_room(8000, "c", 5000, writable=False)
    assert (closed.status, closed.detail) == ("broken", "c is not writable")
    assert diagnose_room(512, "c", 5000, writable=True)[1].what == "memory"


def test_the_decoder_and_the_command_that_it_lacks() -> None:
    lacking = "h264 1920x1080 is decoded in software; nvv4l2decoder: NVIDIA's plugin needs lsmod: sudo apt install kmod"
    assert diagnose_decoder(None, lacking) == Finding(
        "missing", "video decoder", lacking, "sudo apt install kmod"
    )
    slower = "h264 1920x1080 is decoded in software; cuda: not faster: 9.3 ms and 13.9 ms of CPU a frame"
    assert diagnose_decoder(None, slower) == Finding("ok", "video decoder", slower)
    taken = "h264 1920x1080 is decoded by nvv4l2decoder: 3.1 ms and 1.0 ms of CPU a frame"
    assert diagnose_decoder("nvv4l2decoder", taken) == Finding("ok", "video decoder", taken)
