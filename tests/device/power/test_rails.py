"""Power of rails and processor packages, from the files of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.device.facts import FactReading
from edgevision.device.power.rails import EnergyCounter, PackageMeter, package_energy, watts
from tests.device.power.trees import grow

IIO = "sys/bus/i2c/drivers/ina3221x"
TX2_32 = {  # folders and names of rails as on a TX2
    f"{IIO}/0-0040/iio:device0/rail_name_0": "VDD_SYS_GPU\n",
    f"{IIO}/0-0040/iio:device0/in_power0_input": "152\n",
    f"{IIO}/0-0040/iio:device0/rail_name_1": "VDD_SYS_SOC\n",
    f"{IIO}/0-0040/iio:device0/in_power1_input": "687\n",
    f"{IIO}/0-0040/iio:device0/rail_name_2": "NC\n",
    f"{IIO}/0-0040/iio:device0/in_power2_input": "0\n",
    f"{IIO}/0-0041/iio:device1/rail_name_0": "VDD_IN\n",
    f"{IIO}/0-0041/iio:device1/in_power0_input": "3056\n",
    f"{IIO}/0-0041/iio:device1/rail_name_1": "VDD_SYS_CPU\n",
}
RAPL = "sys/class/powercap"
PACKAGE = {
    f"{RAPL}/intel-rapl:0/name": "package-0\n",
    f"{RAPL}/intel-rapl:0/energy_uj": "262143000000\n",
    f"{RAPL}/intel-rapl:0/max_energy_range_uj": "262143328850\n",
    f"{RAPL}/intel-rapl:0:0/name": "core\n",
    f"{RAPL}/intel-rapl:0:0/energy_uj": "5\n",
    f"{RAPL}/intel-rapl:0:0/max_energy_range_uj": "262143328850\n",
    f"{RAPL}/intel-rapl-mmio:0/name": "package-0\n",
    f"{RAPL}/intel-rapl-mmio:0/energy_uj": "7\n",
    f"{RAPL}/intel-rapl-mmio:0/max_energy_range_uj": "262143328850\n",
}


def test_the_layout_of_jetson_linux_32(tmp_path: Path) -> None:
    root = grow(tmp_path, TX2_32)
    expected = (
        FactReading("VDD_SYS_GPU", 0.152),
        FactReading("VDD_SYS_SOC", 0.687),
        FactReading("VDD_IN", 3.056),
    )
    assert watts(root) == expected
    (root / IIO / "0-0041/iio_device").symlink_to("iio:device1")
    assert watts(root) == expected, "the same sensor under its other name"


def test_the_input_of_thors_carrier_board(tmp_path: Path) -> None:
    sensor = "sys/class/hwmon/hwmon7"
    root = grow(tmp_path, {f"{sensor}/name": "ina238\n", f"{sensor}/power1_input": "25530000\n"})
    assert watts(root) == (FactReading("VIN", 25.53),)


def test_a_package_is_read_once_and_its_parts_are_not(tmp_path: Path) -> None:
    assert package_energy(grow(tmp_path, PACKAGE)) == (EnergyCounter("package-0", 262143.0, 262143.32885),)


def test_a_package_that_only_root_may_read_is_omitted(tmp_path: Path) -> None:
    root = grow(tmp_path, PACKAGE)
    for zone in ("intel-rapl:0", "intel-rapl-mmio:0"):
        (root / RAPL / zone / "energy_uj").unlink()
    assert package_energy(root) == ()
    meter = PackageMeter(root)
    assert not meter.readable
    assert meter.watts() == ()


def test_average_power_between_readings(tmp_path: Path) -> None:
    root, now_s = grow(tmp_path, PACKAGE), [10.0]
    meter = PackageMeter(root, clock=lambda: now_s[0])
    assert meter.readable
    now_s[0] = 12.0
    grow(root, {f"{RAPL}/intel-rapl:0/energy_uj": "29671150\n"})  # 30 J later: it wrapped
    (reading,) = meter.watts()
    assert reading.name == "package-0"
    assert reading.value == pytest.approx(15.0)
    assert meter.watts() == (), "no time has passed"
