"""The search for libcudart: order, versions that a driver supports, and Jetsons."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgevision.device.cuda_runtime import (
    SERIES,
    VARIABLE,
    find_cuda_runtime,
    install_command,
    is_jetson,
    searched_places,
)
from edgevision.device.facts import library_versions
from edgevision.device.gpu import GpuFacts
from tests.hardware import L4, ORIN_NX, Driver, recorded, write_tree

JETSON = "orin-nx-jetpack-6.2"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No driver, and no libraries of this machine."""
    for name in (VARIABLE, "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [])
    driver(monkeypatch, None)


def driver(monkeypatch: pytest.MonkeyPatch, cuda: str | None, gpu: GpuFacts = L4) -> None:
    def load(name: str) -> Driver:
        assert name == "libcuda.so.1"
        if cuda is None:
            raise OSError("no such file")
        return Driver(replace(gpu, cuda=cuda))

    monkeypatch.setattr(ctypes, "CDLL", load)


def toolkit(root: Path, version: str, target: str = "x86_64-linux") -> Path:
    """A toolkit as NVIDIA installs it: the short name is a link to the full one."""
    major, minor = version.split(".")[:2]
    folder = root / f"usr/local/cuda-{major}.{minor}/targets/{target}/lib"
    folder.mkdir(parents=True)
    (folder / f"libcudart.so.{version}").write_bytes(b"")
    (folder / f"libcudart.so.{major}").symlink_to(f"libcudart.so.{version}")
    return folder / f"libcudart.so.{major}"


def packages(monkeypatch: pytest.MonkeyPatch, place: Path, *majors: int) -> None:
    for one in SERIES:
        if one.major in majors:
            (place / one.folder).mkdir(parents=True, exist_ok=True)
            (place / one.folder / one.soname).write_bytes(b"")
    monkeypatch.setattr(sys, "path", [str(place)])


def test_nothing_is_found_on_an_empty_machine(tmp_path: Path) -> None:
    assert find_cuda_runtime(tmp_path) is None
    assert searched_places(tmp_path)[0].startswith("Python packages nvidia-cuda-runtime, ")
    assert install_command(tmp_path) == "pip install nvidia-cuda-runtime-cu12"
    assert library_versions(("libcudart",), tmp_path) == ()


def test_a_toolkits_library_has_its_full_version(tmp_path: Path) -> None:
    path = toolkit(tmp_path, "12.6.68", "aarch64-linux")
    found = find_cuda_runtime(tmp_path)
    assert found is not None
    assert (found.path, found.version, found.series.major) == (path, "12.6.68", 12)
    (fact,) = library_versions(("libcudart",), tmp_path)
    assert fact.value == f"12.6.68 {path}"


def test_without_links_the_folder_states_the_version(tmp_path: Path) -> None:
    folder = tmp_path / "usr/local/cuda-11.4/lib64"
    folder.mkdir(parents=True)
    (folder / "libcudart.so.11.0").write_bytes(b"")
    found = find_cuda_runtime(tmp_path)
    assert found is not None
    assert found.version == "11.4"


def test_the_order_of_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place, added in turn, comes before those that were there."""
    places = [toolkit(tmp_path, "12.4.127")]
    listed = tmp_path / "opt/nvidia/lib"
    (tmp_path / "etc/ld.so.conf.d").mkdir(parents=True)
    (tmp_path / "etc/ld.so.conf.d/nvidia.conf").write_text("# a comment\n/opt/nvidia/lib\n")
    for folder in (listed, tmp_path / "exported"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "libcudart.so.12").write_bytes(b"")
        if folder != listed:
            monkeypatch.setenv("LD_LIBRARY_PATH", f"/absent:{folder}")
        places.append(folder / "libcudart.so.12")
        found = find_cuda_runtime(tmp_path)
        assert found is not None
        assert found.path == places[-1]
    packages(monkeypatch, tmp_path / "site", 12)
    found = find_cuda_runtime(tmp_path)
    assert found is not None
    assert (found.package, found.text.split()[1]) == ("nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu12")
    monkeypatch.setenv(VARIABLE, str(places[0]))
    found = find_cuda_runtime(tmp_path)
    assert found is not None
    assert (found.path, found.version) == (places[0], "12.4.127")
    assert searched_places(tmp_path) == (f"{VARIABLE}={places[0]}",)


@pytest.mark.parametrize(
    ("cuda", "major"), [(None, 13), ("13.0", 13), ("12.2", 12), ("11.8", 11), ("10.2", 13)]
)
def test_the_newest_that_the_driver_supports_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: str | None, major: int
) -> None:
    packages(monkeypatch, tmp_path / "site", 11, 12, 13)
    driver(monkeypatch, cuda)
    found = find_cuda_runtime(tmp_path)
    assert found is not None
    assert found.series.major == major


@pytest.mark.parametrize(
    ("compatible", "expected"),
    [(b"vendor,board\0nvidia,p3767\0nvidia,tegra234\0", True), (b"raspberrypi,5-model-b\0", False)],
)
def test_a_module_on_another_makers_board_is_a_jetson(
    tmp_path: Path, compatible: bytes, *, expected: bool
) -> None:
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "model").write_bytes(b"Vendor Board\0")
    (tree / "compatible").write_bytes(compatible)
    assert is_jetson(tmp_path) == expected


def test_a_jetson_uses_its_toolkit_and_never_a_python_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_tree(tmp_path / "root", recorded(JETSON))
    packages(monkeypatch, tmp_path / "site", 12, 13)
    driver(monkeypatch, "12.6", ORIN_NX)
    assert is_jetson(root)
    assert find_cuda_runtime(root) is None
    assert install_command(root) == "sudo apt install cuda-cudart-12-6"
    path = toolkit(root, "12.6.68", "aarch64-linux")
    found = find_cuda_runtime(root)
    assert found is not None
    assert found.path == path
    assert not any("Python" in place for place in searched_places(root))
    driver(monkeypatch, None)
    assert install_command(root) == "sudo apt install nvidia-jetpack"
