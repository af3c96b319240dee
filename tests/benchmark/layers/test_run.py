"""Profiles of real graphs, and their records, tables and report."""

from __future__ import annotations

import csv
import io
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgevision.benchmark.layers.parts import PARTS
from edgevision.benchmark.layers.record import ProfileRecord, layer_cells, layers_csv, total_lines
from edgevision.benchmark.layers.run import layer_records
from edgevision.benchmark.packed import PackedSamples
from edgevision.benchmark.record_files import read_any_record, write_record
from edgevision.benchmark.report.page import page
from edgevision.benchmark.report.rows import report_rows
from edgevision.benchmark.report.tables import markdown
from edgevision.bundle.folder import Bundle
from edgevision.cli.commands.layers.profile import command
from edgevision.contract.layers import EngineLayer, EngineProfile
from edgevision.contract.session import SessionOptions
from edgevision.engines.opening import open_session
from edgevision.engines.profiles.graph import Tensor, read_graph
from edgevision.errors import UsageError
from tests.benchmark.examples import DEVICE
from tests.benchmark.layers.test_roofline import EXAMPLE
from tests.benchmark.report.records import BUILD, CALLS
from tests.engines.profiles.graphs import residual


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["street", "unet", "cnn"])
def test_every_node_of_a_graph_belongs_to_one_layer(name: str, engine: str) -> None:
    bundle = Bundle.open(name)
    frames = bundle.golden().frames[:1]
    with open_session(bundle.path, engine=engine, options=SessionOptions(threads=1)) as session:
        profile = session.profile_layers(itertools.repeat(frames, 5))
    graph = read_graph(bundle.graph_path())
    owned = [node for layer in profile.layers for node in layer.nodes]
    assert sorted(owned) == sorted(node.name for node in graph.nodes if node.name not in graph.constant)
    assert len(profile.calls_ms) == len(profile.plain_ms) == 2
    assert all(len(layer.samples_ms) == 2 for layer in profile.layers)
    assert 0 < sum(layer.mean_ms for layer in profile.layers) < 1.02 * sum(profile.calls_ms) / 2
    convolutions = [node.name for node in graph.nodes if node.op_type == "Conv"]
    layers = {layer.name for layer in profile.layers if set(layer.nodes) & set(convolutions)}
    assert len(layers) == len(convolutions), "no two convolutions are in one layer"
    records = layer_records(graph, profile, {}, None)
    assert {record.part for record in records} <= set(PARTS)
    assert {"pre-processing", "network"} <= {record.part for record in records}


def planted() -> ProfileRecord:
    """A profile of three layers, of which one is an operation of the engine's own."""
    values = {name: Tensor((1, 8, 8, 8), 4) for name in "abcdefg"} | {"frames": Tensor((1, 3, 8, 8), 4)}
    layers = (
        EngineLayer("b_nchwc", "Conv", ("Conv a", "Relu b"), "", "float", (2.0, 4.0, 3.0)),
        EngineLayer("Reorder", "Reorder", (), "Conv a", None, (0.5, 0.5, 0.5)),
        EngineLayer("c", "Conv", ("Conv c", "Add d", "Relu e"), "", "int8", (1.0, 1.0, 7.0)),
    )
    profile = EngineProfile(layers, (5.0, 6.0, 11.5), (4.0, 4.0, 4.0))
    records = layer_records(residual(), profile, values, EXAMPLE)
    return ProfileRecord(
        created="2026-01-04T00:00:00+00:00",
        edgevision="0.1.0",
        build=BUILD,
        device=DEVICE,
        source="v.mp4",
        threads=1,
        spin=True,
        layers=records,
        layers_ms=6.5,
        engine_ms=7.5,
        calls=PackedSamples.of([5_000_000, 6_000_000, 11_500_000]),
        inference_alone=replace(CALLS, name="inference alone"),
        roofline=EXAMPLE,
    )


def test_a_layer_has_its_cost_and_share_of_the_limit() -> None:
    first, own, last = planted().layers
    assert (first.name, first.ms, first.mean_ms, first.share) == ("Conv a", 3.0, 3.0, round(3 / 4.5, 6))
    assert first.flops == 2 * 512 * 27 + 512
    assert first.gflops == pytest.approx(first.flops / 3e6)
    assert first.of_limit == pytest.approx(first.bytes / 10e6 / 3, rel=1e-3) if first.bytes else False
    assert first.fused == ("Relu b",)
    assert (own.name, own.flops, own.limit_ms, own.of_limit) == ("Reorder", None, None, None)
    assert (last.ms, last.mean_ms) == (1.0, 3.0)
    assert last.samples.values_ns() == (1_000_000, 1_000_000, 7_000_000)


def test_the_totals_say_how_much_of_the_time_is_explained() -> None:
    record = planted()
    lines = total_lines(record)
    assert lines[1] == "network: 4.50 ms, 100.0%"
    assert "sum of the layers: 91.3% of a call (median); means 6.50 of 7.50 ms" in lines[3]
    assert [layer.name for layer in record.costliest(2)] == ["Conv a", "Conv c"]


def test_fused_nodes_are_named_without_the_path_of_their_layer() -> None:
    layer = replace(
        planted().layers[0], name="/m/conv/Conv", nodes=("/m/conv/Conv", "/m/act/Mul", "/m/act/S")
    )
    assert layer_cells(layer)[-1] == "act/Mul, act/S"
    many = replace(layer, nodes=("/m/conv/Conv", *(f"/m/{n}" for n in range(5))))
    assert layer_cells(many)[-1] == "0, 1, 2 and 2 more"


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = planted()
    write_record(tmp_path / "profile.json", record)
    assert read_any_record(tmp_path / "profile.json") == record
    damaged = replace(record.layers[0], samples=replace(record.layers[0].samples, count=9))
    write_record(tmp_path / "damaged.json", replace(record, layers=(damaged,)))
    with pytest.raises(UsageError, match="damaged samples"):
        read_any_record(tmp_path / "damaged.json")
    write_record(tmp_path / "short.json", replace(record, calls=PackedSamples.of([1, 2])))
    with pytest.raises(UsageError, match=r"different numbers of samples: \[2, 3\]"):
        read_any_record(tmp_path / "short.json")


def test_a_csv_file_has_every_layer(tmp_path: Path) -> None:
    hostile = replace(planted(), layers=(replace(planted().layers[0], name="=1+1"), *planted().layers[1:]))
    rows = list(csv.DictReader(io.StringIO(layers_csv(hostile))))
    assert [row["layer"] for row in rows] == ["'=1+1", "Reorder", "Conv c"]
    assert (rows[1]["flops"], rows[0]["nodes"]) == ("", "Conv a Relu b")
    assert float(rows[0]["ms"]) == 3.0


def test_a_report_shows_the_layers(tmp_path: Path) -> None:
    write_record(tmp_path / "profile.json", planted())
    rows = report_rows([tmp_path], {})
    assert [row.label for row in rows] == ["m onnxruntime int8, profile"]
    text = markdown(rows)
    assert "| Conv a | Conv | 3.000 | 66.7% |" in text
    assert "- network: 4.50 ms, 100.0%" in text
    html = page(rows, "title")
    assert "<h2>Layers</h2>" in html
    assert "<td>Conv a</td>" in html


def test_the_command_prints_the_costliest_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgevision.cli.commands.layers import profile

    monkeypatch.setattr(profile, "stored_or_measured", lambda *args, **kwargs: EXAMPLE)
    image = Path(__file__).parents[3] / "edgevision" / "photographs" / "cat.jpg"
    record, table = tmp_path / "p.json", tmp_path / "p.csv"
    options = ["--engine", "openvino", "--threads", "1", "--seconds", "0.1", "--top", "2"]
    result = CliRunner().invoke(
        command, ["cnn", *options, "--source", str(image), "--record", str(record), "--csv", str(table)]
    )
    assert result.exit_code == 0, result.exception
    for text in ("GFLOP/s", "of limit", "network:", "sum of the layers:", "memory"):
        assert text in result.output
    stored = read_any_record(record)
    assert isinstance(stored, ProfileRecord)
    assert stored.build.engine.engine == "openvino"
    shown = [line.split()[0] for line in result.output.splitlines()[4:6]]
    assert shown == [layer.name for layer in stored.costliest(2)]
    assert len(table.read_text().splitlines()) == len(stored.layers) + 1
