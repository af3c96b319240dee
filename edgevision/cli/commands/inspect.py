"""`edgevision inspect`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from edgevision.bundle.folder import Bundle, GraphEntry
from edgevision.bundle.operating_point import LOST
from edgevision.bundle.program import size_text
from edgevision.cli.present import verification_lines
from edgevision.contract.spec import COMPUTED, FrameInput, ModelSpec
from edgevision.contract.thresholds import by_class
from edgevision.errors import BundleError, GraphError
from edgevision.storage.codec import json_text


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(model: Path, as_json: bool) -> None:
    """Show a bundle or an ONNX file: inputs, outputs, classes, origin and verification records."""
    if model.suffix == ".onnx":
        _inspect_graph(model, as_json)
        return
    bundle = Bundle.open(model)
    if as_json:
        click.echo(json_text(bundle.manifest), nl=False)
        return
    lines = _spec_lines(bundle.spec)
    point = bundle.operating_point
    if point is not None:
        thresholds = by_class(point.thresholds(bundle.spec.classes), bundle.spec.classes) or {}
        listed = ", ".join(f"{name} {value:.2f}" for name, value in thresholds.items())
        lines.append(
            f"threshold  {listed}; measured on {point.images} images of {point.data}, {point.created}"
        )
    if bundle.lost_operating_point:
        lines.append(f"threshold  {LOST}")
    for graph in (*bundle.manifest.graphs, *bundle.manifest.computed):
        lines.append(f"graph      {graph.file.name} ({graph.precision}, {graph.size_bytes / 1e6:.1f} MB)")
        for verification in graph.verifications:
            lines += [f"           {line}" for line in verification_lines(verification)]
        if not graph.verifications:
            lines.append("           not verified")
        if bundle.manifest.parts and graph.precision not in COMPUTED:
            lines += [f"           {line}" for line in _program_lines(bundle, graph)]
        elif graph.precision not in COMPUTED:
            lines += [f"           {line}" for line in _readable(bundle, graph)]
    coders = [
        f"{coder.path.name:<11}a graph of its own: edgevision inspect {coder.path}" for coder in bundle.coders
    ]
    click.echo("\n".join([*lines, *coders, *_engine_lines(bundle)]))


def _program_lines(bundle: Bundle, entry: GraphEntry) -> list[str]:
    """The graphs of a program, and its memory plan."""
    program = bundle.program(entry.precision)
    graphs = [
        f"{graph.name} ({graph.precision}, {size_text(graph.weights_bytes)}): edgevision inspect"
        f" {bundle.path / graph.name}"
        for graph in program.graphs
    ]
    return [*graphs, f"memory: {program.plan}"]


def _readable(bundle: Bundle, graph: GraphEntry) -> list[str]:
    """Versions of TensorRT that can read the graph; empty without the package onnx, as on devices."""
    if importlib.util.find_spec("onnx") is None:
        return []
    from edgevision.graph.contract import load_model
    from edgevision.graph.limits.check import readable_lines

    try:
        form = bundle.form_path(graph.precision, "opset17")
        model = load_model(bundle.graph_path(graph.precision), external=False)
        return readable_lines(model, load_model(form) if form else None)
    except (BundleError, GraphError) as error:  # `verify` reports what is wrong with a file
        return [f"cannot be read: {error}"]


def _engine_lines(bundle: Bundle) -> list[str]:
    """TensorRT engines in the bundle, with their targets and verification records."""
    from edgevision.cli.commands.build import precision_lines
    from edgevision.device.gpu import sm_text
    from edgevision.engines.tensorrt.store import stored_engines
    from edgevision.engines.tensorrt.versions import FLAVOURS

    found = stored_engines(bundle.path)
    lines = []
    for engine in found.engines:
        made = engine.manifest
        fits = f"{FLAVOURS[made.flavour]} {made.version}, {sm_text(made.sm)}, {made.precision}"
        lines.append(f"engine     {fits}, {made.plan.size_bytes / 1e6:.1f} MB, batch {made.batch}")
        lines += [f"           {line}" for line in precision_lines(made)]
        if made.verification is None:
            lines.append(f"           not verified: {made.not_run}")
        else:
            lines += [f"           {line}" for line in verification_lines(made.verification)]
    return lines + [f"engine     cannot be read: {problem}" for problem in found.problems]


def _inspect_graph(path: Path, as_json: bool) -> None:
    from edgevision.cli.extras import require_adopt

    require_adopt("edgevision inspect FILE.onnx")
    from edgevision.graph.contract import describe, load_model, read_spec
    from edgevision.graph.limits.check import readable_lines

    model = load_model(path)
    try:
        spec: ModelSpec | None = read_spec(model)
    except GraphError:
        spec = None
    description = describe(model)
    if as_json:
        click.echo(json_text({"spec": spec, "graph": description}), nl=False)
        return
    lines = _spec_lines(spec) if spec else ["no edgevision spec inside: not exported by edgevision"]
    read = [
        f"{'tensorrt' if index == 0 else '':<11}{line}" for index, line in enumerate(readable_lines(model))
    ]
    click.echo("\n".join([*lines, *description.lines(), *read]))


def _input_lines(spec: ModelSpec) -> list[str]:
    """One line for each input."""
    taken = spec.input
    if isinstance(taken, FrameInput):
        shape = ",".join(map(str, taken.frame_shape))
        kind = "BGR" if taken.layout == "bgr" else f"NV12 of {taken.size_wh[0]}x{taken.size_wh[1]}"
        return [f"frames     uint8 [{taken.batch},{shape}] {kind}, {taken.fit}"]
    return [
        f"{tensor.name:<11}{tensor.dtype} [{','.join(map(str, (taken.batch, *tensor.shape)))}]"
        + (f", 0 to {tensor.limit - 1}" if tensor.limit else "")
        for tensor in taken.tensors
    ]


def _spec_lines(spec: ModelSpec) -> list[str]:
    source = spec.provenance
    classes = ", ".join(spec.classes[:8]) + (", ..." if len(spec.classes) > 8 else "")
    lines = [
        f"{spec.name}: {spec.task}, {len(spec.classes)} classes ({classes})",
        *_input_lines(spec),
        *[
            f"{tensor.name:<11}{tensor.dtype} [{','.join('B' if n < 0 else str(n) for n in tensor.shape)}]"
            for tensor in spec.outputs
        ],
        f"made       {source.created} from {source.source} by {source.recipe}",
        f"sha256     {source.source_sha256 or 'none'}",
        f"versions   {', '.join(' '.join(pair) for pair in source.versions)}",
    ]
    if spec.nms:
        lines.append(
            f"nms        IoU {spec.nms.iou_threshold:g}, floor {spec.nms.score_floor:g}, {spec.nms.candidates}"
            f" candidates in blocks of {spec.nms.block},"
            f" {spec.nms.depth} steps, at most {spec.nms.max_detections} boxes"
        )
    return lines
