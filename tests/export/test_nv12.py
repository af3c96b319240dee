"""Bundles with the layout nv12: verified in all four kinds of colours, and run on images, planes and clips."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

from edgevision.bundle.folder import Bundle
from edgevision.cli.root import edgevision
from edgevision.contract.image import fit_frame
from edgevision.contract.nv12 import KINDS, Nv12Frame, Nv12Parts, nv12_from_bgr
from edgevision.contract.results import Classification
from edgevision.contract.spec import ModelSpec
from edgevision.engines.opening import open_session
from edgevision.errors import UsageError
from edgevision.explain.maps import ExplainOptions, explain
from edgevision.export.adoption import adopt_bundle
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.graph.adopt import AdoptOptions
from edgevision.graph.contract import read_spec
from edgevision.models.recipe import load_recipe
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_pipeline
from edgevision.sources.feeds.picture import PictureFrame
from edgevision.sources.image_files import read_image
from edgevision.sources.opening import open_source
from edgevision.sources.synthetic_camera import PHOTOGRAPHS
from edgevision.verification.golden import verify_session
from tests.doubles import ListSink
from tests.graph import networks
from tests.sources.test_planes import write_tagged

WEIGHTS = Path(__file__).resolve().parents[2] / "edgevision" / "weights"
Array = npt.NDArray[Any]
Tables = dict[str, Array]


def export(recipe: str, path: Path, layout: str, **options: Any) -> Bundle:
    choices = ExportOptions(checkpoint=WEIGHTS / f"{recipe}.safetensors", layout=layout, **options)  # type: ignore[arg-type]  # from a list
    known = {"street": "yolov5"}.get(recipe, recipe)
    return export_bundle(load_recipe(known), choices, path, lambda _: None)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export("cnn", tmp_path_factory.mktemp("nv12") / "cnn", "nv12")


def test_the_schema_names_the_layout(bundle: Bundle) -> None:
    frames = bundle.spec.frames
    assert (frames.layout, frames.frame_shape) == ("nv12", (49, 32))
    assert read_spec(onnx.load(bundle.graph_path())) == bundle.spec
    earlier = json.loads(bundle.spec.to_json())
    del earlier["frames"]["layout"]
    assert ModelSpec.from_json(json.dumps(earlier)).frames.layout == "bgr"
    shown = CliRunner().invoke(edgevision, ["inspect", str(bundle.path)])
    assert "uint8 [1,49,32] NV12 of 32x32" in shown.output


def test_golden_frames_have_all_kinds_of_colours(bundle: Bundle) -> None:
    golden = bundle.golden()
    assert [Nv12Parts.of(frame).colour for frame in golden.frames] == list(KINDS)
    for engine in ("onnxruntime", "openvino"):
        with open_session(bundle.path, engine=engine) as session:
            assert verify_session(session, golden).passed


def swapped(tables: Tables) -> None:
    tables["blue"], tables["red"] = tables["red"], tables["blue"]


def wrong_matrix(tables: Tables) -> None:
    for name, table in tables.items():
        table[2:4] = table[12:14]
        tables[name] = table


def wrong_range(tables: Tables) -> None:
    for name, table in tables.items():
        table[1::2] = table[::2]
        tables[name] = table


def limited_as_full(tables: Tables) -> None:
    for name, table in tables.items():
        table[::2] = table[1::2]
        tables[name] = table


def with_fault(model: onnx.ModelProto, plant: Callable[[Tables], None]) -> onnx.ModelProto:
    """The graph with other tables of colours, which it gathers in this order."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    gathers = [n for n in model.graph.node if n.op_type == "Gather" and n.name.startswith("pre/")][:4]
    found = dict(zip(("offset", "gain", "blue", "red"), gathers, strict=True))
    tables = {name: numpy_helper.to_array(stored[node.input[0]]).copy() for name, node in found.items()}
    plant(tables)
    for name, node in found.items():
        tensor = stored[node.input[0]]
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(tables[name]), tensor.name))
    return model


@pytest.mark.parametrize("plant", [swapped, wrong_matrix, wrong_range, limited_as_full])
def test_verification_finds_wrong_colours(
    bundle: Bundle, plant: Callable[[Tables], None], tmp_path: Path
) -> None:
    model = onnx.load(bundle.graph_path())
    onnx.save(with_fault(model, lambda _: None), tmp_path / "same.onnx")
    onnx.save(with_fault(model, plant), tmp_path / "wrong.onnx")
    for name, passes in (("same", True), ("wrong", False)):
        with open_session(tmp_path / f"{name}.onnx", engine="onnxruntime") as session:
            assert verify_session(session, bundle.golden()).passed == passes


def scores_of(result: object) -> npt.NDArray[np.float32]:
    assert isinstance(result, Classification)
    return result.scores


def test_images_and_planes_give_what_the_first_layout_gives(bundle: Bundle, tmp_path: Path) -> None:
    image = read_image(next(PHOTOGRAPHS.glob("*.jpg")))
    image = image[: len(image) // 2 * 2, : image.shape[1] // 2 * 2]
    with open_session(export("cnn", tmp_path / "bgr", "bgr").path) as session:
        expected = scores_of(session([image])[0])
    with open_session(bundle.path) as session:
        found = [scores_of(session([image])[0])]
        for colour in KINDS:
            parts = Nv12Parts.of(nv12_from_bgr(image, colour))
            found.append(scores_of(session([Nv12Frame(parts.luma, parts.chroma, colour)])[0]))
    for scores in found:  # at 32x32 pixels, chroma of half the size changes a score by several percent
        assert scores.argmax() == expected.argmax()
        np.testing.assert_allclose(scores, expected, atol=0.08)


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((1, 32, 32, 3), r"call the session itself, which converts them: session\(frames\)"),
        ((1, 48, 32), "the last row, matrix and range of the frame's colour, is missing"),
        ((1, 65, 32), r", received uint8 \[1, 65, 32\]$"),
    ],
)
def test_frames_of_another_layout_are_refused(bundle: Bundle, shape: tuple[int, ...], remedy: str) -> None:
    with (
        open_session(bundle.path) as session,
        pytest.raises(UsageError, match=rf"do not fit cnn; expected uint8 \[1,49,32\].*{remedy}"),
    ):
        session.infer(np.zeros(shape, np.uint8))


def test_planes_for_a_graph_of_the_first_layout_are_refused() -> None:
    with (
        open_session(Path("cnn")) as session,
        pytest.raises(UsageError, match="nv12 need a bundle exported with --layout nv12"),
    ):
        session.infer(np.zeros((1, 49, 32), np.uint8))


@pytest.mark.parametrize("colour", KINDS, ids=str)
def test_a_clip_runs_without_a_conversion(
    bundle: Bundle, colour: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_tagged(tmp_path / "clip.mp4", colour, count=6)

    def converted(_: PictureFrame) -> None:
        raise AssertionError("a whole frame is converted to BGR")

    monkeypatch.setattr(PictureFrame, "_to_bgr", converted)
    sink = ListSink()
    sink.takes_images = False
    with open_session(bundle.path) as session, open_source(clip) as source:
        run_pipeline(session, source, [sink], options=PipelineOptions(threshold=0.0))
        assert len(sink.seen) == 6
        row, _ = fit_frame(sink.seen[3].frame.pixels, bundle.spec.frames)
        (scores,) = session.infer(row[None])
        np.testing.assert_allclose(scores_of(sink.seen[3].result), scores[0], atol=1e-6)


def test_images_are_converted_once_where_they_are_wanted(bundle: Bundle, tmp_path: Path) -> None:
    clip = write_tagged(tmp_path / "clip.mp4", KINDS[2], count=3)
    sink = ListSink()
    with open_session(bundle.path) as session, open_source(clip) as source:
        run_pipeline(session, source, [sink], options=PipelineOptions(threshold=0.0))
    first = sink.seen[0].frame
    assert isinstance(first.pixels, PictureFrame)
    assert first.image_bgr is first.image_bgr
    np.testing.assert_allclose(first.image_bgr[48, 16], (0, 0, 0), atol=3)


@pytest.mark.parametrize("frame_wh", [None, (160, 100)])
@pytest.mark.parametrize("head", ["yolov8", "yolox"])
def test_adopted_files_take_planes(head: str, frame_wh: tuple[int, int] | None, tmp_path: Path) -> None:
    """The reference is the unmodified file on pixels that were converted in float64."""
    file = tmp_path / f"{head}.onnx"
    onnx.save(networks.DETECTORS[head](), file)
    options = AdoptOptions(frame_wh=frame_wh, layout="nv12")
    adopted = adopt_bundle(file, head, options, None, tmp_path / head, lambda _: None)
    assert adopted.spec.frames.layout == "nv12"
    width, height = adopted.spec.frames.size_wh
    with open_session(adopted.path) as session:
        assert len(session([np.zeros((height, width, 3), np.uint8)])) == 1


def test_explain_masks_the_image_and_converts_it(bundle: Bundle) -> None:
    image = read_image(next(PHOTOGRAPHS.glob("*.jpg")))
    with open_session(bundle.path) as session:
        found = explain(session, image, options=ExplainOptions(masks=40))
    assert found.heat.shape == image.shape[:2]
    assert np.abs(found.heat).max() > 0


def test_odd_sizes_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="641x480 cannot have the layout nv12.*--layout bgr"):
        export("cnn", tmp_path / "odd", "nv12", frame_wh=(641, 480))


@pytest.mark.parametrize(
    "frame_wh",
    [
        pytest.param(None, marks=pytest.mark.slow),
        pytest.param((768, 576), marks=pytest.mark.exhaustive),
    ],
)
def test_a_detector_is_verified_in_both_engines(frame_wh: tuple[int, int] | None, tmp_path: Path) -> None:
    bundle = export("street", tmp_path / "street", "nv12", frame_wh=frame_wh)
    golden = bundle.golden()
    assert {Nv12Parts.of(frame).colour for frame in golden.frames} == set(KINDS)
    for engine in ("onnxruntime", "openvino"):
        with open_session(bundle.path, engine=engine) as session:
            assert verify_session(session, golden).passed
    model = onnx.load(bundle.graph_path())
    for plant in (swapped, wrong_matrix, wrong_range, limited_as_full):
        onnx.save(with_fault(onnx.load(bundle.graph_path()), plant), tmp_path / "wrong.onnx")
        with open_session(tmp_path / "wrong.onnx", engine="onnxruntime") as session:
            assert not verify_session(session, golden).passed, plant.__name__
    assert dataclasses.replace(bundle.spec) == read_spec(model)
