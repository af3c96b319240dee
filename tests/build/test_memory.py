"""Fits or does not fit: said before the build."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.build.gpu import GpuFacts, driver_version, gpu_facts, this_platform
from edgevision.build.memory import LEAST_WORKSPACE_MIB, fit_build, require_fit
from edgevision.device import available_memory_mib
from edgevision.errors import EngineError


def machine(root: Path, available_mib: int) -> Path:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/meminfo").write_text(
        f"MemTotal: 8000000 kB\nMemFree: 100 kB\nMemAvailable: {available_mib * 1024} kB\n"
    )
    return root


def board(free_mib: int) -> GpuFacts:
    return GpuFacts("Orin Nano", 87, "12.6", None, 3800, free_mib, integrated=True)


def test_a_small_board_takes_a_small_detector(tmp_path: Path) -> None:
    fit = fit_build(
        board(2500), weights_mib=8, activations_mib=40, asked_mib=None, root=machine(tmp_path, 2200)
    )
    require_fit(fit)
    assert fit.free_mib == 2200, "memory is shared: what the host has left counts too"
    assert fit.workspace_mib is not None
    assert LEAST_WORKSPACE_MIB < fit.workspace_mib < 1200
    assert str(fit).startswith(
        "fits: needs about 828 MiB of memory shared by CPU and GPU, 2200 MiB are free, workspace"
    )


def test_it_does_not_take_a_large_one(tmp_path: Path) -> None:
    fit = fit_build(
        board(2500), weights_mib=350, activations_mib=800, asked_mib=None, root=machine(tmp_path, 2200)
    )
    with pytest.raises(
        EngineError, match=r"the build does not fit: needs about 2614 MiB of memory shared .* 2200 MiB"
    ):
        require_fit(fit)


def test_the_users_bound_is_kept_and_counted(tmp_path: Path) -> None:
    root = machine(tmp_path, 2200)
    small = fit_build(board(2500), weights_mib=8, activations_mib=40, asked_mib=128, root=root)
    assert (small.workspace_mib, small.fits) == (128, True)
    large = fit_build(board(2500), weights_mib=8, activations_mib=40, asked_mib=4096, root=root)
    assert not large.fits


def test_a_card_has_memory_of_its_own(tmp_path: Path) -> None:
    card = GpuFacts("L4", 89, "12.6", "560", 23000, 20000, integrated=False)
    fit = fit_build(card, weights_mib=8, activations_mib=40, asked_mib=None, root=machine(tmp_path, 500))
    assert fit.fits
    assert fit.where == "GPU memory"


def test_building_for_others_needs_host_memory_alone(tmp_path: Path) -> None:
    root = machine(tmp_path, 500)
    fit = fit_build(None, weights_mib=8, activations_mib=4000, asked_mib=None, root=root)
    assert (fit.fits, fit.workspace_mib, fit.where) == (False, None, "host memory")


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    root = machine(tmp_path, 8000)
    assert available_memory_mib(root) == 8000
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/memory.max").write_text(str(2048 << 20))
    (root / "sys/fs/cgroup/memory.current").write_text(str(512 << 20))
    assert available_memory_mib(root) == 1536
    (root / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert available_memory_mib(root) == 8000


def test_drivers_as_they_name_themselves(tmp_path: Path) -> None:
    assert driver_version(tmp_path) is None
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text(
        "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic\n"
    )
    assert driver_version(tmp_path) == "L4T 36.4.3"
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  560.35.03  Fri Aug 16 21:39:15 UTC 2024\n"
    )
    assert driver_version(tmp_path) == "560.35.03"


def test_a_machine_without_a_driver() -> None:
    if Path("/dev/nvidia0").exists():
        pytest.skip("there is a GPU here")
    assert gpu_facts() is None
    here = this_platform(None)
    assert (here.device, here.sm, here.cuda) == (None, None, None)
    assert here.architecture
