"""Odd and hostile input on the command line: one clear line each, no traceback, nothing half-written, no hang."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.bundle.folder import Golden, write_bundle
from edgevision.cli import failures, main
from edgevision.cli.root import COMMANDS
from edgevision.contract.spec import FrameInput, ModelSpec, Provenance, classify_outputs
from edgevision.engines.opening import open_session
from edgevision.errors import GraphError
from edgevision.graph.contract import attach_metadata
from edgevision.graph.first_run import require_an_end
from tests.quantize.pixel_networks import CLASSES, SIDE, answers, frames, network

Run = Callable[..., tuple[int, str]]
FLOAT = network(("Relu", {}))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The exit code and what was said."""
    monkeypatch.setenv("EDGEVISION_CACHE", str(tmp_path / "cache"))

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["edgevision", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().err

    return call


def spec() -> ModelSpec:
    provenance = Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00")
    outputs = classify_outputs(CLASSES)
    return ModelSpec("m", "classify", FrameInput((SIDE, SIDE)), outputs, tuple("abcde"), provenance)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    golden = Golden(frames(4), (answers(FLOAT, [frame[None] for frame in frames(4)]),))
    return write_bundle(tmp_path / "bundle", spec(), FLOAT.SerializeToString(), golden).path


def save(path: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, path)
    return path


def classifier(shape: list[int], nodes: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    """Somebody else's classifier: a mean over the image, ten classes."""
    weights = numpy_helper.from_array(np.ones((3, 10), np.float32), "w")
    nodes = nodes or []
    image = nodes[-1].output[0] if nodes else "x"
    nodes = [
        *nodes,
        helper.make_node("GlobalAveragePool", [image], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape[0], 10])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_endless_loop() -> onnx.ModelProto:
    """A Loop whose condition stays true and whose count has no end."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Identity", ["value"], ["value_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, [1, 3, 8, 8]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value_out", TensorProto.FLOAT, [1, 3, 8, 8]),
        ],
    )
    true = helper.make_node("Constant", [], ["true"], value=numpy_helper.from_array(np.array(True)))
    loop = helper.make_node("Loop", ["", "true", "x"], ["looped"], body=body)
    return classifier([1, 3, 8, 8], [true, loop])


def test_an_input_of_a_size_that_no_camera_has(run: Run, tmp_path: Path) -> None:
    model = save(tmp_path / "huge.onnx", classifier([1, 3, 200_000, 200_000]))
    code, message = run("adopt", model, "--head", "classifier", "-o", tmp_path / "b")
    assert code == 1
    assert "frames of 200000x200000 have 40,000 million pixels; expected at most 67 million" in message
    assert not (tmp_path / "b").exists()


def test_a_spec_of_such_a_size(run: Run, tmp_path: Path) -> None:
    model = classifier([1, 3, 8, 8])
    attach_metadata(model, spec())
    for entry in model.metadata_props:
        entry.value = entry.value.replace(f"[{SIDE}, {SIDE}]", "[200000, 200000]").replace(
            f"[{SIDE},{SIDE}]", "[200000,200000]"
        )
    code, message = run("run", save(tmp_path / "huge.onnx", model), "demo:", "--limit", 1)
    assert code == 1
    assert "expected at most 67 million" in message


def test_a_loop_without_an_end(run: Run, tmp_path: Path) -> None:
    model = save(tmp_path / "loop.onnx", with_endless_loop())
    code, message = run("adopt", model, "--head", "classifier", "--timeout", 3, "-o", tmp_path / "b")
    assert code == 1
    assert "loop.onnx has a loop and did not finish one frame within 3 s" in message
    assert "--timeout SECONDS" in message
    assert not (tmp_path / "b").exists()


def test_a_graph_without_loops_is_not_run_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("it was run"))
    require_an_end(classifier([1, 3, 8, 8]), "plain.onnx")


def test_weights_outside_the_model_s_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "m").mkdir()
    model = classifier([1, 3, 8, 8])
    tensor = model.graph.initializer[0]
    (tmp_path / "secret" / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../secret/weights.bin"
    (tmp_path / "m" / "model.onnx").write_bytes(model.SerializeToString())
    code, message = run("adopt", tmp_path / "m" / "model.onnx", "--head", "classifier", "-o", tmp_path / "b")
    assert code == 1
    assert "has weights in another file, which cannot be read" in message
    assert "put external data in the folder of the model" in message
    assert "not an ONNX file" not in message


def test_a_finished_graph_runs_alone_in_openvino(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    model = onnx.ModelProto()
    model.CopyFrom(FLOAT)
    attach_metadata(model, spec())
    path = save(tmp_path / "alone.onnx", model)
    with open_session(path, engine="openvino") as one, open_session(path, engine="onnxruntime") as other:
        assert one.spec == other.spec == spec()
        np.testing.assert_allclose(one.infer(frames()[:1])[0], other.infer(frames()[:1])[0], atol=1e-5)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_graph_without_a_spec_names_the_command(tmp_path: Path, engine: str) -> None:
    pytest.importorskip(engine)
    path = save(tmp_path / "bare.onnx", FLOAT)
    with pytest.raises(GraphError, match="has no edgevision spec; run: edgevision adopt"):
        open_session(path, engine=engine)


def damaged_onnx(folder: Path) -> dict[str, Path]:
    whole = classifier([1, 3, 8, 8]).SerializeToString()
    contents = {
        "empty.onnx": b"",
        "text.onnx": b"hello\n" * 100,
        "short.onnx": whole[: len(whole) // 2],
        "zeros.onnx": bytes(1000),
        "ones.onnx": b"\xff" * 1000,
        "json.onnx": b'{"graph": 1}',
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    (folder / "folder.onnx").mkdir()
    return {name: folder / name for name in (*contents, "folder.onnx", "nothing.onnx")}


@pytest.mark.parametrize("command", ["adopt", "run", "inspect", "bench"])
def test_damaged_graphs(run: Run, tmp_path: Path, command: str) -> None:
    for path in damaged_onnx(tmp_path).values():
        further: dict[str, list[object]] = {
            "adopt": ["--head", "classifier", "-o", tmp_path / "b"],
            "run": ["demo:", "--limit", 1],
        }
        code, message = run(command, path, *further.get(command, []))
        assert code == 1, (path, message)
        assert "unexpected" not in message, (path, message)
        assert path.name in message, (path, message)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing.jpg"],
        ["empty.jpg"],
        ["text.jpg"],
        ["folder.jpg"],
        ["short.png"],
        [""],
        ["\x00"],
        ["x" * 3000],
        ["ä ö.jpg"],
        ["-"],
        ["photo.jpg", "--threshold", "nan"],
        ["photo.jpg", "--threshold", "-1"],
        ["photo.jpg", "--limit", "-5"],
        ["photo.jpg", "--batch", "1000000"],
        ["photo.jpg", "-o", "text.jpg/out"],
        ["photo.jpg", "--jsonl", "folder.jpg"],
        ["photo.jpg", "--csv", "missing.json"],
        ["photo.jpg", "photo.jpg", "-o", "out.mp4"],
        ["a\nb=photo.jpg"],
        ["x" * 300 + "=photo.jpg"],
        ["photo.jpg", "--events", "\x01"],
        ["0?width=9"],
        ["http://127.0.0.1:9/clip.mp4"],
        ["*.nothing"],
    ],
    ids=lambda arguments: repr(" ".join(arguments))[:40],
)
def test_odd_arguments_of_run(
    run: Run, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.jpg", np.full((20, 20, 3), 90, np.uint8))
    data = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8))[1]
    for name, content in {"empty.jpg": b"", "text.jpg": b"hello", "short.png": data.tobytes()[:60]}.items():
        Path(name).write_bytes(content)
    Path("folder.jpg").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    code, message = run("run", bundle, *arguments)
    assert code == 1, message
    assert message.strip(), "expected an error message"
    assert "unexpected" not in message, message
    assert "Traceback" not in message
    assert sorted(path.name for path in tmp_path.iterdir()) == before, "nothing is left behind"


def test_an_unexpected_error_is_one_line_with_the_log_s_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the library gave up\nfor a long reason")

    monkeypatch.setattr("edgevision.cli.root.edgevision.main", fail)
    code, message = run("run", "b", "rtsp://me:secret@host/1?token=x")
    assert code == failures.UNEXPECTED
    (log,) = (tmp_path / "cache" / "logs").iterdir()
    expected = f"edgevision: unexpected RuntimeError: the library gave up; the traceback is in {log}\n"
    assert message == expected
    text = log.read_text()
    assert "for a long reason" in text
    assert "in fail" in text
    assert "secret" not in text


def test_traceback_shows_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        assert sys.argv[1:] == ["run", "b", "0"], "the option is not the command's"
        raise RuntimeError("the library gave up")

    monkeypatch.setattr("edgevision.cli.root.edgevision.main", fail)
    code, message = run("run", "b", "--traceback", "0")
    assert code == failures.UNEXPECTED
    assert "Traceback (most recent call last)" in message


def test_ctrl_c_is_one_line_and_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgevision.cli.root.edgevision.main", interrupted)
    code, message = run("verify", "b")
    assert code == 130
    assert message.startswith("edgevision: interrupted; the traceback is in ")
    assert message.count("\n") == 1


def test_only_the_latest_logs_are_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache" / "logs"
    folder.mkdir(parents=True)
    for number in range(30):
        (folder / f"20200101-0000{number:02}-1.log").touch()

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("edgevision.cli.root.edgevision.main", fail)
    code, message = run("verify", "b")
    assert code == failures.UNEXPECTED
    assert message.startswith("edgevision: out of memory; ")
    assert len(list(folder.iterdir())) == failures.KEPT_LOGS


NO_BUNDLE = {"adopt", "demo", "deploy", "doctor", "export", "fleet", "models", "roofline", "train"}
"""Commands whose first argument is not a bundle."""


def test_every_command_survives_a_name_without_bundle(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for command in sorted(set(COMMANDS) - NO_BUNDLE):
        code, message = run(
            command, tmp_path / "file", *([tmp_path / "file"] if command in ("run", "explain") else [])
        )
        assert code in (1, 2), (command, message)
        assert "unexpected" not in message, (command, message)
