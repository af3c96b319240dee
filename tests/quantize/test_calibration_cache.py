from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgevision.cli.commands.quantize import command
from edgevision.errors import SinkError, SourceError, UsageError
from edgevision.quantize.calibration.cache import cache_text, read_cache, write_calibration_cache
from edgevision.quantize.calibration.ranges import Ranges

# The example of NVIDIA's documentation: github.com/NVIDIA/TensorRT, samples/sampleINT8/README.md, "Calibration file".
DOCUMENTED = """\
TRT-7000-EntropyCalibration2
data: 3c008912
conv1: 3c88edfc
pool1: 3c88edfc
conv2: 3ddc858b
pool2: 3ddc858b
ip1: 3db6bd6e
ip2: 3e691968
prob: 3c010a14
"""


def test_the_documented_example_is_read() -> None:
    scales = read_cache(DOCUMENTED)
    assert list(scales) == ["data", "conv1", "pool1", "conv2", "pool2", "ip1", "ip2", "prob"]
    # 0x3c008912: exponent 120 - 127, fraction 0x008912: 2**-7 * (1 + 35090 / 2**23).
    assert scales["data"] == 2**-7 * (1 + 35090 / 2**23)
    assert scales["prob"] * 127 == pytest.approx(1.0, abs=1e-2)


def test_the_documented_example_is_written_to_the_byte() -> None:
    assert cache_text(read_cache(DOCUMENTED), "7.0.0") == DOCUMENTED


@pytest.mark.parametrize(
    ("version", "header"),
    [
        # As caches of these versions begin.
        ("7.1.3", "TRT-7103-EntropyCalibration2"),
        ("8.6.2", "TRT-8602-EntropyCalibration2"),
        ("10.3.0", "TRT-100300-EntropyCalibration2"),
    ],
)
def test_the_header_names_the_version(version: str, header: str) -> None:
    assert cache_text({}, version) == header + "\n"


def test_ranges_survive_a_round_trip(tmp_path: Path) -> None:
    ranges = Ranges(
        "max", 8, {"/model.0/conv/Conv_output_0": 25.5, "images": 255.0, "(Unnamed Layer* 1)": 0.1}
    )
    path = tmp_path / "calibration.cache"
    write_calibration_cache(path, ranges)
    found = read_cache(path.read_text())
    assert set(found) == set(ranges.thresholds)
    for name, threshold in ranges.thresholds.items():
        assert found[name] == np.float32(threshold / 127)


def test_a_tensor_that_is_always_0_gets_a_harmless_scale(tmp_path: Path) -> None:
    write_calibration_cache(tmp_path / "c", Ranges("max", 1, {"silent": 0.0}))
    assert read_cache((tmp_path / "c").read_text()) == {"silent": 1.0}


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e-60])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(UsageError, match="positive float32"):
        cache_text({"x": scale})


@pytest.mark.parametrize("name", ["", "a\nb"])
def test_a_name_that_breaks_the_line_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="has a line break"):
        cache_text({name: 1.0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it begins with ''"),
        ("data: 3c008912\n", "not a calibration cache"),
        ("TRT-8601-EntropyCalibration2\ndata: 3c0089\n", "line 2"),
        ("TRT-8601-EntropyCalibration2\na: 3c008912\nnonsense\n", "line 3"),
    ],
)
def test_what_is_no_cache_is_refused(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_cache(text)


def test_a_version_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="not a TensorRT version"):
        cache_text({}, "eight")


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="cannot write"):
        write_calibration_cache(tmp_path / "missing" / "c", Ranges("max", 1, {}))


@pytest.mark.parametrize("precision", ["fp16", "fp8"])
def test_only_an_int8_graph_has_a_cache(precision: str, tmp_path: Path) -> None:
    arguments = [
        str(tmp_path),
        "--calib",
        str(tmp_path),
        "--precision",
        precision,
        "--write-calibration-cache",
    ]
    with pytest.raises(UsageError, match=f"received --precision {precision}: omit one of them"):
        CliRunner().invoke(command, arguments, catch_exceptions=False)
