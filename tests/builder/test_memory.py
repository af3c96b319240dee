"""Memory estimates before the build."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.builder.activations import Activations
from edgevision.builder.memory import LEAST_WORKSPACE_MIB, BuildNeed, fit_build, require_fit
from edgevision.device.facts import available_memory_mib
from edgevision.device.gpu import GpuFacts, driver_version, gpu_facts
from edgevision.engines.tensorrt.here import this_platform
from edgevision.errors import EngineError, UsageError
from tests.hardware import recorded_card, recorded_gpu

GIB = 1024
CARD = recorded_card("l4", free_mib=20000)


def machine(root: Path, available_mib: int, *, total_mib: int = 7620, swap_mib: int = 0) -> Path:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/meminfo").write_text(
        f"MemTotal: {total_mib * 1024} kB\nMemFree: 100 kB\nMemAvailable: {available_mib * 1024} kB\n"
        f"SwapTotal: {swap_mib * 1024} kB\nSwapFree: {swap_mib * 1024} kB\n"
    )
    return root


def board(free_mib: int) -> GpuFacts:
    """An Orin Nano; CUDA reports as free what neither programs nor the page cache hold."""
    return recorded_gpu("orin-nx-jetpack-6.2", free_mib=free_mib)


def need(
    weights_mib: int = 8, activations_mib: int = 40, *, level: int = 0, asked: int | None = None
) -> BuildNeed:
    return BuildNeed(weights_mib, Activations(activations_mib, activations_mib // 2), level, asked)


def test_a_small_board_takes_a_small_detector(tmp_path: Path) -> None:
    fit = fit_build(board(2500), need(), root=machine(tmp_path, 2200))
    require_fit(fit)
    assert fit.free_mib == 2200
    assert fit.workspace_mib is not None
    assert LEAST_WORKSPACE_MIB < fit.workspace_mib < 1200
    assert str(fit).startswith(
        "fits: needs about 828 MiB (700 library, 24 weights, 40 activations at level 0) of memory shared by CPU and"
        " GPU, 2200 MiB are free, workspace"
    )


def test_the_page_cache_is_memory_that_a_build_may_take(tmp_path: Path) -> None:
    """After a bundle was copied to a board its page cache is full: CUDA then reports next to nothing as free."""
    fit = fit_build(board(350), need(), root=machine(tmp_path, 5200))
    assert (fit.fits, fit.free_mib) == (True, 5200)


def test_it_does_not_take_a_large_one(tmp_path: Path) -> None:
    large = need(350, 800)
    fit = fit_build(board(2500), large, root=machine(tmp_path, 2200))
    with pytest.raises(
        EngineError,
        match=r"the build does not fit: needs about 2614 MiB .* of memory shared .* 2200 MiB are free\. .*"
        r" lower --level .* add swap, half of which counts \(sudo fallocate -l 4G /swapfile.*--memory-mib 2614",
    ):
        require_fit(fit)


def test_swap_that_is_added_as_advised_makes_room(tmp_path: Path) -> None:
    large = need(350, 800)
    require_fit(fit_build(board(2500), large, root=machine(tmp_path, 2200, swap_mib=4 * GIB)))
    # Swap takes in what others hold, and no more than that.
    crowded = fit_build(board(2500), large, root=machine(tmp_path, 2200, total_mib=2300, swap_mib=64 * GIB))
    assert crowded.free_mib == 2300


def test_a_limit_of_the_user_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = machine(tmp_path, 2200)
    message = fit_build(board(2500), need(350, 800), memory_mib=3000, root=root)
    assert (message.fits, message.free_mib, message.where) == (True, 3000, "memory (as specified)")
    more = fit_build(board(2500), need(), memory_mib=20000, root=root)
    assert (more.tactic_mib, more.workspace_mib) == (7620, 7620), "no bound is over what there is"
    monkeypatch.setenv("EDGEVISION_BUILD_MEMORY_MIB", "2800")
    assert fit_build(board(2500), need(350, 800), root=root).free_mib == 2800
    assert fit_build(None, need(), root=root).free_mib == 2800
    assert fit_build(None, need(), memory_mib=1000, root=root).free_mib == 1000, "an option comes first"
    monkeypatch.setenv("EDGEVISION_BUILD_MEMORY_MIB", "3G")
    with pytest.raises(
        UsageError, match="EDGEVISION_BUILD_MEMORY_MIB is '3G'; expected a whole number of MiB"
    ):
        fit_build(board(2500), need(), root=root)


def test_the_users_bound_is_kept_and_counted(tmp_path: Path) -> None:
    root = machine(tmp_path, 2200)
    small = fit_build(board(2500), need(asked=128), root=root)
    assert (small.workspace_mib, small.fits) == (128, True)
    assert not fit_build(board(2500), need(asked=4096), root=root).fits


def test_the_level_and_the_graph_decide_the_need() -> None:
    levels = [need(8, 400, level=level).least_mib for level in range(6)]
    assert levels == [1188, 1388, 1388, 1388, 1563, 1563], (
        "timing needs tensors of its own, generated kernels more"
    )


@pytest.mark.parametrize(("gpu", "expected"), [(board(350), 2200 - 700 - 8), (CARD, 20000 - 700)])
def test_timing_kernels_is_bounded_by_what_is_free(tmp_path: Path, gpu: GpuFacts, expected: int) -> None:
    """TensorRT's own bound is 75 % of all memory on a Jetson, 5715 MiB here, and all of it elsewhere."""
    assert fit_build(gpu, need(), root=machine(tmp_path, 2200)).tactic_mib == expected


def test_a_card_has_memory_of_its_own(tmp_path: Path) -> None:
    fit = fit_build(CARD, need(), root=machine(tmp_path, 500, swap_mib=4 * GIB))
    assert (fit.fits, fit.where, fit.free_mib) == (True, "GPU memory", 20000)
    with pytest.raises(EngineError) as raised:
        require_fit(fit_build(CARD, need(9000), root=tmp_path))
    assert "swap" not in str(raised.value), "swap makes no room on a card"


def test_building_for_others_needs_host_memory_alone(tmp_path: Path) -> None:
    fit = fit_build(None, need(8, 4000, level=5), root=machine(tmp_path, 373))
    assert (fit.fits, fit.workspace_mib, fit.tactic_mib, fit.where) == (False, None, None, "host memory")
    assert fit.needed_mib == 350 + 3 * 8


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
    here = this_platform(None, 0)
    assert (here.device, here.sm, here.cuda) == (None, None, None)
    assert here.architecture
