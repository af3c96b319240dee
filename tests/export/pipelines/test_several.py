"""Pipelines as several graphs: parts, external weights, memory plan, FP16, and the commands on them."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from edgevision.bundle.folder import Bundle
from edgevision.bundle.program import Program, ProgramGraph, ProgramStep
from edgevision.cli.commands.build import command as build
from edgevision.contract.inputs import BatchRange
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import Precision
from edgevision.engines.opening import open_session
from edgevision.engines.programs.session import ProgramSession
from edgevision.engines.tensorrt.store import stored_engines
from edgevision.errors import BundleError, EngineError, UsageError, VerificationError
from edgevision.export.pipelines import exporter, parts
from edgevision.export.pipelines.exporter import RunChoices, export_pipeline
from edgevision.export.pipelines.half_parts import with_fp16_parts
from edgevision.export.pipelines.weights import Arrays, with_folded_layouts
from tests.export.pipelines.tiny import KINDS, write_pipeline

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
"""The libraries' own, of their configuration and of numpy."""

MEMORY = 1_400_000
"""Bytes: less than all graphs together, more than the largest one."""
Images = npt.NDArray[np.uint8]
LIMIT = 20_000
"""Bytes of weights inside of a graph; the tiny parts have more."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """SD-Turbo's kind with external weights, which are not to be changed."""
    folder = tmp_path_factory.mktemp("several")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "MOST_INSIDE", LIMIT)
        choices = RunChoices(steps=2, graphs="several", memory_bytes=MEMORY)
        return export_pipeline(write_pipeline("turbo", folder), choices, folder / "bundle", lambda _: None)


@pytest.fixture
def copied(exported: Bundle, tmp_path: Path) -> Bundle:
    shutil.copytree(exported.path, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


def images(bundle: Bundle, precision: Precision = "float") -> Images:
    options = SessionOptions(precision=precision)
    with open_session(bundle.path, engine="onnxruntime", options=options) as session:
        golden = bundle.golden().inputs
        return np.concatenate([session.infer(golden[row : row + 1])[0] for row in range(len(golden))])


@pytest.fixture(scope="module")
def made(exported: Bundle) -> Images:
    """Images of the golden inputs."""
    return images(exported)


def test_a_pipeline_becomes_several_graphs(exported: Bundle, made: Images) -> None:
    assert [part.path.name for part in exported.parts] == ["text_encoder", "denoiser", "decoder"]
    record = exported.graph("float").verifications[0]
    differences = {check.name: check.measured for check in record.checks}
    assert differences["largest difference of the PyTorch images from diffusers' pipeline"] < 1e-4
    assert all(part.graph("float").verifications[0].passed for part in exported.parts)
    expected = exported.golden().answers[0]
    assert expected[0].tobytes() != expected[1].tobytes()
    assert np.abs(made.astype(int) - expected).max() <= 1
    exported.check_files()


def test_weights_are_in_a_file_of_their_own(exported: Bundle) -> None:
    denoiser = exported.part("denoiser")
    entry = denoiser.graph("float")
    (data,) = entry.data
    assert data.name == "model.onnx.data"
    assert data.size_bytes > 900_000 > entry.file.size_bytes
    graph = onnx.load(denoiser.graph_path(), load_external_data=False).graph
    outside = [one for one in graph.initializer if one.data_location == onnx.TensorProto.EXTERNAL]
    offsets = [int(pair.value) for one in outside for pair in one.external_data if pair.key == "offset"]
    assert len(offsets) > 50
    assert all(offset % 4096 == 0 for offset in offsets), "engines map the file"


def test_changed_weights_are_found(copied: Bundle) -> None:
    file = copied.path / "denoiser" / "model.onnx.data"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match="model.onnx.data was modified"):
        copied.check_files()
    with pytest.raises(BundleError, match="model.onnx.data was modified"):
        copied.part("denoiser").graph_path()


def test_a_graph_of_another_export_is_refused(copied: Bundle) -> None:
    """Its own files are intact, so only the program's hash shows it."""
    shutil.rmtree(copied.path / "decoder")
    shutil.copytree(copied.path / "text_encoder", copied.path / "decoder")
    with pytest.raises(BundleError, match="decoder belongs to another export"):
        open_session(copied.path, engine="onnxruntime")


def test_one_graph_is_asked_of_a_bundle_of_several(exported: Bundle) -> None:
    with pytest.raises(BundleError, match="has several graphs; .*denoiser"):
        exported.graph_path()


def test_graphs_are_loaded_in_turn(exported: Bundle, made: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by the sessions that are open at the same time; the images are those of all graphs together."""
    program = exported.program()
    assert program.in_turn
    assert program.fits
    assert program.largest.name == "denoiser"
    assert program.peak_bytes < MEMORY < program.together_bytes
    assert program.plan.startswith("graphs are loaded in turn: peak ")
    opened: list[str] = []
    closed: list[str] = []

    def opening(name: str) -> Session:
        assert opened == closed, "the one before was closed"
        session = open_session(exported.path / name, engine="onnxruntime")
        opened.append(name)
        monkeypatch.setattr(session, "close", lambda: closed.append(name))
        return session

    openers = {graph.name: functools.partial(opening, graph.name) for graph in program.graphs}
    with ProgramSession(exported.spec, program, openers) as session:
        (image,) = session.infer(exported.golden().inputs[:1])
    assert opened == closed == ["text_encoder", "denoiser", "decoder"]
    assert np.array_equal(image, made[:1])


def test_activations_are_counted(exported: Bundle) -> None:
    """The decoder's largest values: 16x16 pixels of 16 channels in float32, two to four of them at a time."""
    decoder = exported.program().decoder
    assert 2 * 16 * 16 * 16 * 4 <= decoder.activations_bytes <= 4 * 16 * 16 * 16 * 4


def test_a_closed_session_does_not_open_again(exported: Bundle) -> None:
    session = open_session(exported.path, engine="onnxruntime")
    session.close()
    with pytest.raises(EngineError, match="is closed"):
        session.infer(exported.golden().inputs[:1])


def test_settings_choose_the_number_of_graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pipeline("turbo", tmp_path)
    with pytest.raises(UsageError, match="received --graphs one"):
        export_pipeline(path, RunChoices(graphs="one", memory_bytes=1), tmp_path / "bundle", lambda _: None)
    monkeypatch.setattr(exporter, "MOST_WEIGHTS", 100_000)
    with pytest.raises(UsageError, match="one ONNX file holds at most .* use --graphs several"):
        export_pipeline(path, RunChoices(graphs="one"), tmp_path / "bundle", lambda _: None)


@pytest.mark.slow
def test_large_weights_and_a_limit_of_memory_choose_several_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "MOST_WEIGHTS", 100_000)
    said: list[str] = []
    path, choices = write_pipeline("turbo", tmp_path), RunChoices(memory_bytes=100_000)
    bundle = export_pipeline(path, choices, tmp_path / "bundle", said.append)
    assert len(bundle.parts) == 3
    assert any("warning: do not fit the memory" in text for text in said)
    assert sorted(child.name for child in tmp_path.iterdir()) == ["bundle", "turbo", "words"], (
        "nothing is left"
    )


def test_nothing_is_written_if_a_part_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = with_folded_layouts

    def damaged(network: onnx.ModelProto, weights: Arrays) -> tuple[onnx.ModelProto, Arrays]:
        network, weights = original(network, weights)
        name = max(weights, key=lambda one: weights[one].size)
        return network, {**weights, name: weights[name] * 1.01}

    monkeypatch.setattr(parts, "with_folded_layouts", damaged)
    path = write_pipeline("turbo", tmp_path)
    with pytest.raises(VerificationError, match="turbo/text_encoder was not written"):
        export_pipeline(path, RunChoices(graphs="several"), tmp_path / "bundle", lambda _: None)
    assert sorted(child.name for child in tmp_path.iterdir()) == ["turbo", "words"]


@pytest.mark.slow
def test_fp16_keeps_the_overflow_of_external_weights_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder's values exceed FP16 although its images do not; then every part is built, each in FP16."""
    monkeypatch.setattr(parts, "MOST_INSIDE", LIMIT)
    path = write_pipeline("sdxl-turbo", tmp_path)
    file = path / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    for name in ("decoder.conv_in.weight", "decoder.conv_in.bias"):
        weights[name] = weights[name] * 1e6  # the normalisations that follow remove the factor
    save_file(weights, file, metadata={"format": "pt"})
    choices = RunChoices(steps=2, graphs="several", batch=BatchRange(1, 2, 4))
    bundle = with_fp16_parts(
        export_pipeline(path, choices, tmp_path / "bundle", lambda _: None), lambda _: None
    )
    assert [record.engine for record in bundle.graph("fp16").verifications] == [
        "onnxruntime",
        "emulated fp16",
    ]
    assert all(record.passed for record in bundle.graph("fp16").verifications)
    decoder = bundle.part("decoder")
    assert decoder.graph("fp16").data[0].size_bytes < 0.7 * decoder.graph("float").data[0].size_bytes
    graph = onnx.load(decoder.graph_path("fp16"), load_external_data=False).graph
    types = {one.name: one.data_type for one in graph.initializer if len(one.dims) == 4}
    kept = [types[node.input[1]] for node in graph.node if node.op_type == "Conv" and node.input[1] in types]
    assert 1 <= kept.count(onnx.TensorProto.FLOAT) <= 8 < len(kept)
    difference = np.abs(images(bundle, "fp16").astype(int) - bundle.golden().answers[0])
    assert difference.max() <= 8
    built = CliRunner().invoke(build, [str(bundle.path), "--engine", "tensorrt-rtx", "--sm", "89"])
    assert built.exit_code == 0, built.exception
    for part in bundle.parts:
        assert [one.manifest.precision for one in stored_engines(part.path).engines] == ["fp16"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_several_graphs(kind: str, tmp_path: Path) -> None:
    choices = RunChoices(steps=2, graphs="several")
    bundle = export_pipeline(write_pipeline(kind, tmp_path), choices, tmp_path / "bundle", lambda _: None)
    bundle = with_fp16_parts(bundle, lambda _: None)
    assert all(record.passed for entry in bundle.manifest.graphs for record in entry.verifications)
    assert len(bundle.manifest.graphs) == 2


def test_the_device_needs_neither_torch_nor_onnx(exported: Bundle, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'diffusers', 'transformers'):\n"
        "    sys.modules[name] = None\n"
        "from edgevision.__main__ import main\n"
        "main()\n"
    )
    arguments = (
        "generate",
        str(exported.path),
        "--text",
        "the cat",
        "--count",
        "2",
        "--engine",
        "onnxruntime",
    )
    output = tmp_path / "out"
    subprocess.run(
        [sys.executable, "-c", program, *arguments, "-o", str(output)], check=True, capture_output=True
    )
    files = sorted(output.glob("*.png"))
    assert [cv2.imread(str(file)).shape for file in files] == [(16, 16, 3)] * 2  # type: ignore[union-attr]  # read
    hash_of_program = exported.graph("float").file.sha256
    assert hash_of_program.encode() in files[0].read_bytes()


def test_old_bundles_are_written_as_before(exported: Bundle) -> None:
    """New fields are in the manifests of new bundles only, so earlier versions read the others."""
    whole = json.loads((exported.path / "bundle.json").read_text())
    assert whole["schema"] == 3
    assert whole["parts"] == ["text_encoder", "denoiser", "decoder"]
    assert "data" not in whole["graphs"][0]
    packaged = json.loads(
        (Path(exporter.__file__).parents[2] / "bundles" / "cnn" / "bundle.json").read_text()
    )
    assert packaged["schema"] == 1


def test_a_program_states_its_plan() -> None:
    def graph(name: str, weights: float, activations: float) -> ProgramGraph:
        return ProgramGraph(name, "fp16", "0" * 64, int(weights * 1e9), int(activations * 1e9))

    graphs = graph("text_encoder", 1.6, 0.1), graph("denoiser", 5.1, 1.0), graph("decoder", 0.2, 1.5)
    program = Program((graphs[0],), *graphs[1:], 1.0, (ProgramStep(999.0, 1.0, 0.5, (0.5,), 0.0),), int(8e9))
    assert program.in_turn
    assert program.plan == (
        "graphs are loaded in turn: peak 6.10 GB of 8.00 GB (denoiser: 5.10 GB of weights, 1.00 GB of activations); all"
        " together need 8.40 GB"
    )
    wide = Program((graphs[0],), *graphs[1:], 1.0, program.steps, int(9e9))
    assert wide.plan == "all graphs stay loaded: peak 8.40 GB of 9.00 GB"
    with pytest.raises(ValueError, match="different names"):
        Program((graphs[1],), *graphs[1:], 1.0, program.steps)
