"""`edgevision adopt` without a head, without torch; other commands name it for a foreign file."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from edgevision.bundle.folder import Bundle
from edgevision.cli import extras, main
from edgevision.contract.embedded_spec import adopt_command
from tests.graph import networks, odd_networks

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The exit code, the output and the errors."""
    monkeypatch.setenv("EDGEVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgevision", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call


def saved(model: onnx.ModelProto, folder: Path, name: str = "theirs.onnx") -> Path:
    onnx.save(model, folder / name)
    return folder / name


def test_the_head_is_recognised_and_printed(run: Run, tmp_path: Path) -> None:
    saved(networks.classifier(), tmp_path)
    code, out, err = run("adopt", "theirs.onnx", "--no-fp16", "-o", "theirs")
    assert code == 0, err
    assert "head classifier: one output [1, 3], 3 classes; input 96x64\n" in out + err
    assert Bundle.open(tmp_path / "theirs").spec.provenance.recipe == "adopted: classifier"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (networks.yolox, "2 heads fit theirs.onnx; choose one with --head HEAD:\n  yolov5: "),
        (
            lambda: odd_networks.reshaped(1, 2, 48, 64, 3),
            "no head fits theirs.onnx.\nIt takes 96x64; its outputs:\n",
        ),
        (
            lambda: networks.with_metadata(networks.yolov8(), task="track"),
            "theirs.onnx is a model for the task 'track', as its metadata states",
        ),
    ],
)
def test_a_file_without_a_certain_head_is_refused(
    run: Run, tmp_path: Path, make: Callable[[], onnx.ModelProto], message: str
) -> None:
    saved(make(), tmp_path)
    code, _, err = run("adopt", "theirs.onnx", "-o", "theirs")
    assert code == 1
    assert message in err
    assert "unexpected" not in err
    assert not (tmp_path / "theirs").exists()


def test_the_pixel_format_is_printed_and_recorded(run: Run, tmp_path: Path) -> None:
    saved(networks.classifier(), tmp_path)
    code, out, err = run("adopt", "theirs.onnx", "--no-fp16", "-o", "a")
    assert code == 0, err
    assert (
        "pixels: RGB, (value / 255 - 0.485 0.456 0.406) / 0.229 0.224 0.225 (assumed: ImageNet's" in out + err
    )
    options = ("--colour", "bgr", "--scale", "1/127.5", "--mean", "1", "--std", "1,1,2", "--fit", "stretch")
    code, out, err = run("adopt", "theirs.onnx", "--no-fp16", "-o", "b", *options)
    assert code == 0, err
    spec = Bundle.open(tmp_path / "b").spec
    assert spec.provenance.pixels == "BGR, (value * 0.00784314 - 1 1 1) / 1 1 2 (as chosen)"
    assert spec.frames.fit == "stretch"
    for wrong in (("--mean", "1,2"), ("--std", "x"), ("--scale", "0"), ("--scale", "1/0")):
        assert run("adopt", "theirs.onnx", "-o", "c", *wrong)[0] == 1


def test_an_unknown_head_lists_the_known_ones(run: Run, tmp_path: Path) -> None:
    saved(networks.yolov8(), tmp_path)
    code, _, err = run("adopt", "theirs.onnx", "--head", "yolov99", "-o", "theirs")
    assert code == 1
    assert "unknown head 'yolov99'. Heads with their expected outputs:\n  yolov5: one output" in err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            networks.yolov8,
            "(head yolov8: one output [1, 7, 126], 3 classes); run: edgevision adopt a.b.onnx -o a.b\n",
        ),
        (
            networks.yolox,
            "(several heads fit it); run: edgevision adopt a.b.onnx --head HEAD -o a.b\n",
        ),
        (
            lambda: odd_networks.pooled(("n", 3, "h", "w"), ("n", 3)),
            "(its input has no fixed size); run: edgevision adopt a.b.onnx --size WxH -o a.b\n",
        ),
        (
            networks.end2end,
            "of an input of 96x64); run: edgevision adopt a.b.onnx --class-names FILE -o a.b\n",
        ),
        (
            lambda: odd_networks.pooled((1, 4, 64, 96), (1, 4)),
            "spec; run: edgevision adopt a.b.onnx -o a.b\n",
        ),
    ],
)
@pytest.mark.parametrize("command", [("run", "a.b.onnx", "demo:", "--limit", "1"), ("bench", "a.b.onnx")])
def test_a_foreign_file_names_the_command_that_adopts_it(
    run: Run, tmp_path: Path, command: tuple[str, ...], make: Callable[[], onnx.ModelProto], message: str
) -> None:
    saved(make(), tmp_path, "a.b.onnx")
    code, _, err = run(*command)
    assert code == 1
    assert err.endswith(message)
    assert err.startswith("edgevision: a.b.onnx has no edgevision spec")


def test_without_onnx_the_plain_command_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(networks.yolov8(), tmp_path)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name))
    code, _, err = run("run", "theirs.onnx", "demo:", "--limit", 1)
    assert code == 1
    assert err.endswith("has no edgevision spec; run: edgevision adopt theirs.onnx -o theirs\n")


def test_a_failure_of_the_recognition_hides_no_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(networks.yolov8(), tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr("edgevision.graph.foreign.network.read_foreign", fail)
    code, _, err = run("run", "theirs.onnx", "demo:", "--limit", 1)
    assert code == 1
    assert err.endswith("; run: edgevision adopt theirs.onnx -o theirs\n")


def test_the_command_is_quoted_for_the_shell() -> None:
    assert adopt_command(Path("my model.onnx")) == "edgevision adopt 'my model.onnx' -o 'my model'"


def test_adopt_runs_with_torch_blocked(tmp_path: Path) -> None:
    saved(networks.classifier(), tmp_path)
    blocked = ("torch", "safetensors", "modelopt", "lightning", "openvino", "onnx_graphsurgeon", "matplotlib")
    program = "\n".join(
        [
            "import sys",
            f"sys.modules.update({{name: None for name in {blocked!r}}})",
            "sys.argv = ['edgevision', 'adopt', 'theirs.onnx', '-o', 'theirs']",
            "from edgevision.cli import main",
            "main()",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    precisions = [entry.precision for entry in Bundle.open(tmp_path / "theirs").manifest.graphs]
    assert precisions == ["float", "fp16"]


def test_the_extra_installs_what_the_command_requires() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("adopt = ")]
    assert "torch" not in line
    for package in extras._ADOPT:
        assert f'"{package}>=' in line or (package == "onnxruntime" and "edgevision[cpu]" in line)


def test_crowded_boxes_get_more_nms_steps(run: Run, data_dir: Path, tmp_path: Path) -> None:
    file = data_dir / "adopt" / "picodet_small.onnx"
    many = ("--no-fp16", "--pre-nms-topk", "1000")
    code, out, err = run("adopt", file, *many, "-o", "a")
    assert code == 0, err
    assert "NMS steps raised from 16 to " in out + err
    spec = Bundle.open(tmp_path / "a").spec
    assert spec.nms is not None
    assert 16 < spec.nms.depth <= 80
    assert spec.classes == ("text", "title", "figure", "table", "list")
    code, _, err = run("adopt", file, *many, "--nms-steps", "18", "-o", "b")
    assert code == 2
    assert "NMS steps that the frames need 24, must be <= 18" in err


def test_a_checkpoint_names_export(run: Run, tmp_path: Path) -> None:
    (tmp_path / "theirs.pt").write_bytes(b"PK\x03\x04")
    code, _, err = run("adopt", "theirs.pt", "-o", "theirs")
    assert code == 1
    assert "not an ONNX file; run `edgevision export theirs.pt -o BUNDLE`" in err


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("taken", "taken exists and is not a bundle; choose another folder with -o"),
        (
            "taken/below",
            "cannot write the bundle taken/below: Not a directory; choose another folder with -o",
        ),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    run: Run, tmp_path: Path, output: str, message: str
) -> None:
    saved(networks.classifier(), tmp_path)
    (tmp_path / "taken").write_text("mine")
    code, out, err = run("adopt", "theirs.onnx", "-o", output)
    assert code == 1
    assert (out, err) == ("", f"edgevision: {message}\n"), "no step was run"
    assert (tmp_path / "taken").read_text() == "mine"
