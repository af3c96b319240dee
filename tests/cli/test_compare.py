"""The command `edgevision compare`, and `edgevision bench --against`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgevision.benchmark.paired.record import PairedRecord
from edgevision.benchmark.record_files import read_any_record, write_record
from edgevision.cli.commands import bench
from edgevision.cli.commands.records import compare
from edgevision.errors import MissingExtraError, UsageError, VerificationError
from tests.benchmark.examples import timed

CAT = Path(__file__).parents[2] / "edgevision" / "photographs" / "cat.jpg"
BASE_MS = (20.0, 21.0, 20.2, 20.9, 20.4, 20.6)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Six runs of each build, alternating; the second is 10 % slower."""
    for number, median_ms in enumerate(BASE_MS):
        for minute, name, factor in ((0, "base", 1.0), (1, "new", 1.1 + 0.001 * number)):
            created = f"2026-01-01T0{number}:0{minute}:00+00:00"
            write_record(tmp_path / name / f"{number}.json", timed(created, median_ms * factor))
    return tmp_path / "base", tmp_path / "new"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(compare.command, [str(argument) for argument in arguments])


def test_one_record_of_each_is_shown_without_certainty(tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", timed("2026-01-01", 20.0))
    write_record(tmp_path / "b.json", timed("2026-01-02", 25.0))
    result = run(tmp_path / "a.json", tmp_path / "b.json", "--fail-above", 5)
    assert result.exit_code == 0, result.exception
    assert (
        f"{tmp_path / 'b.json'} compared with {tmp_path / 'a.json'}: 25.0 % slower, not sure" in result.output
    )
    assert "a slow-down above 5 % is not excluded" in result.output
    assert "stage (latest runs)" in result.output


def test_a_slow_down_above_the_limit_fails(folders: tuple[Path, Path]) -> None:
    base, new = folders
    result = run(base, new, "--fail-above", 5, "--noise-floor", 2)
    assert "6 pairs" in result.output
    assert result.exit_code == 0, "six pairs are too few"
    for number in range(6, 9):
        write_record(base / f"{number}.json", timed(f"2026-01-01T0{number}:00:00+00:00", 20.0))
        write_record(new / f"{number}.json", timed(f"2026-01-01T0{number}:01:00+00:00", 22.1 + 0.01 * number))
    result = run(base, new, "--fail-above", 5)
    assert "10.4 % slower, sure; p = 0.004, 9 pairs" in result.output
    assert isinstance(result.exception, VerificationError)
    assert str(result.exception) == f"{new} is 10.4 % slower than {base}: the limit of --fail-above is 5 %"
    assert result.exception.exit_code == 2
    assert run(base, new, "--fail-above", 12).exit_code == 0
    assert run(new, base, "--fail-above", 5).exit_code == 0, "faster"


def test_misuse_is_explained(folders: tuple[Path, Path], tmp_path: Path) -> None:
    base, _ = folders
    for arguments, message in (
        ((base,), "holds one build: `edgevision compare"),
        ((base / "0.json",), "holds one build"),
        (
            (base, tmp_path / "nowhere.json"),
            "cannot read benchmark record .*; expected the file of `edgevision bench",
        ),
        ((base / "0.json", base / ".." / base.name / "0.json"), "are the same records"),
    ):
        with pytest.raises(UsageError, match=message):
            raise run(*arguments).exception or AssertionError("it should have failed")


def test_without_scipy_the_extra_is_named(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "scipy" else find(name))
    with pytest.raises(MissingExtraError, match=r"pip install 'edgevision\[compare\]'"):
        raise run(*folders).exception or AssertionError("it should have failed")


def test_bench_against_another_precision_writes_a_record_of_both(
    brightness_bundle: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.onnx"
    copy.write_bytes((brightness_bundle / "model.onnx").read_bytes())
    file = tmp_path / "pairs.json"
    options = (
        "--source",
        CAT,
        "--against",
        copy,
        "--pairs",
        2,
        "--max-pairs",
        5,
        "--seconds",
        0.1,
        "--threads",
        1,
        "--record",
        file,
    )
    result = CliRunner().invoke(bench.command, [str(option) for option in (brightness_bundle, *options)])
    assert result.exit_code == 0, result.exception
    record = read_any_record(file)
    assert isinstance(record, PairedRecord)
    assert (record.base.name, record.new.name) == ("copy.onnx onnxruntime", "brightness onnxruntime float")
    assert record.base.graph_sha256 == record.new.graph_sha256
    assert (record.settings.pairs, record.settings.groups, record.settings.threads) == (2, 2, 1)
    assert len(record.pairs) == 4
    assert record.snapshots
    assert "brightness onnxruntime float compared with copy.onnx onnxruntime: " in result.output
    assert ", not sure; p = " in result.output
    assert "so few pairs cannot give p below 0.01" in result.output
    again = run(file)
    assert again.exit_code == 0, again.exception
    assert again.output.splitlines()[-1] == result.output.splitlines()[-1]
    with pytest.raises(UsageError, match="already compares two builds: pass it alone"):
        raise run(file, file).exception or AssertionError("it should have failed")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pairs", "3"), "need --against"),
        (("--max-pairs", "3"), "need --against"),
        (("--against", "openvino", "--max-pairs", "11"), "--max-pairs 11 is below --pairs 12"),
        (("--fail-above", "3"), "need --against"),
        (("--against", "onnxruntime"), "is the build itself"),
        (("--against", "a,b"), "expected a bundle, an engine or a precision"),
        (("--against", ""), "expected a bundle, an engine or a precision"),
    ],
)
def test_bench_explains_misuse(brightness_bundle: Path, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        raise CliRunner().invoke(
            bench.command, [str(brightness_bundle), *options]
        ).exception or AssertionError("it should have failed")
