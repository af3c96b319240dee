"""AP of detectors with transformers in FP16: every operation, by rule, and searched within an accuracy limit.

``python -m benchmarks.fp16_detr BUNDLE... --search IMAGES --search-annotations FILE --held IMAGES --held-annotations
FILE`` prints, for each bundle, AP on the held-out images in float and for three FP16 graphs, with emulated FP16
rounding. The searched graph is the result of ``edgevision quantize --precision fp16``. TensorRT-RTX builds it, and the
types of its layers are compared with those of the graph. Exit code 1 if a claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import onnx

from edgevision.bundle.folder import Bundle
from edgevision.contract.embedded_spec import FLOAT32_KEY, embedded_nodes
from edgevision.device.facts import device_facts
from edgevision.evaluation.bootstrap import Scores, paired_drop
from edgevision.graph.contract import load_model
from edgevision.graph.surgery import with_named_nodes
from edgevision.quantize.calibration.calibrate import CalibrationFrames
from edgevision.quantize.calibration.magnitudes import Magnitudes, float_values, probe_magnitudes
from edgevision.quantize.fp16 import HalfGraph, HalfRules, half_graph
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.quantize.half.groups import work_share
from edgevision.quantize.half.preparation import prepared
from edgevision.quantize.half.record import HALF_RECORD
from edgevision.quantize.jobs import QuantizeJob, run_job
from edgevision.quantize.options import EvalSet, QuantizeOptions
from edgevision.quantize.search.search import Budget
from edgevision.quantize.search.trials import trial_for
from edgevision.quantize.search.workbench import Workbench
from tests.rtx import inspected_rtx_engine

MARGIN = 0.0
"""Points beyond the budget that the searched graph may lose on the held-out images."""


def plain_half(model: onnx.ModelProto) -> HalfGraph:
    """Every operation in FP16 that has an FP16 form, whatever its values: what an FP16 flag permits."""
    blind = Magnitudes(1, dict.fromkeys(float_values(model), 1.0))
    return half_graph(model, blind, HalfRules(decode_in_float=False, cautious=False))


def measured(
    bundle: Bundle, graphs: dict[str, onnx.ModelProto], arguments: argparse.Namespace
) -> dict[str, Scores]:
    """Scores of the float graph and of FP16 graphs on the held-out images."""
    trial = trial_for(bundle.spec, arguments.held, arguments.held_annotations, arguments.limit)
    with Workbench(bundle, [trial], arguments.threads) as bench:
        found = {"float": bench.scores("float")[0]}
        for name, graph in graphs.items():
            bench.place("fp16", emulated_half(graph))
            found[name] = bench.scores("fp16")[0]
    return found


def searched(bundle: Bundle, arguments: argparse.Namespace, output: Path) -> Bundle:
    """The bundle with the FP16 graph of ``edgevision quantize``."""
    sets = zip(arguments.search, arguments.search_annotations, arguments.search_limit, strict=True)
    options = QuantizeOptions(
        calib=arguments.search[0],
        calib_images=arguments.calib_images,
        budget=Budget(arguments.max_drop, arguments.confidence),
        eval_sets=tuple(EvalSet(images, annotations, limit) for images, annotations, limit in sets),
        threads=arguments.threads,
    )
    for part in run_job(
        QuantizeJob(bundle, options, output), "fp16", lambda line: print(f"  {line}", flush=True)
    ):
        if isinstance(part, str):
            print(f"  {part}", flush=True)
    return Bundle.open(output)


def rtx_types(path: Path) -> dict[str, dict[str, int]]:
    """Types of the layers of the nodes that must be FP32, and of all others outside the contract."""
    model = load_model(path)
    single = embedded_nodes(path, FLOAT32_KEY) or frozenset()
    engine = inspected_rtx_engine(path.read_bytes())
    computing = [n.name for n in model.graph.node if n.name and not n.name.startswith(("pre/", "post/"))]
    casts = {n.name for n in model.graph.node if n.op_type == "Cast"}
    others = [name for name in computing if name not in single and name not in casts]
    return {
        "kept": _floats(engine.types_of(single)),
        "others": _floats(engine.types_of(others)),
        "engine": {kind: count for (_, kind), count in Counter(engine.layers).items()},
    }


def _floats(types: Counter[str]) -> dict[str, int]:
    return {kind: types[kind] for kind in ("Float", "Half")}


def row(bundle: Bundle, arguments: argparse.Namespace) -> tuple[dict[str, object], bool]:
    """One bundle's figures, and whether they keep the budget and the types."""
    model = prepared(with_named_nodes(load_model(bundle.graph_path("float"))))
    frames = CalibrationFrames(arguments.search[0], bundle.spec.frames, arguments.calib_images)
    rules = half_graph(model, probe_magnitudes(model, iter(frames)))
    plain = plain_half(model)
    with tempfile.TemporaryDirectory(prefix="edgevision-fp16-") as folder:
        found = searched(bundle, arguments, Path(folder) / bundle.path.name)
        record = json.loads((found.path / HALF_RECORD).read_text())
        path = found.graph_path("fp16")
        types = rtx_types(path)
        graphs = {"plain": plain.model, "rules": rules.model, "searched": load_model(path)}
        scores = measured(bundle, graphs, arguments)
        single = embedded_nodes(path, FLOAT32_KEY) or frozenset()
    drops = {name: paired_drop([scores["float"]], [scores[name]]) for name in graphs}
    named = [n.name for n in model.graph.node]
    shares = {
        "plain": work_share(model, plain.half),
        "rules": work_share(model, rules.half),
        "searched": record["half_share"],
    }
    result: dict[str, object] = {
        "bundle": bundle.spec.name,
        "ap": {name: round(value.whole, 2) for name, value in scores.items()},
        "drop": {name: str(drop) for name, drop in drops.items()},
        "share": {name: round(value, 5) for name, value in shares.items()},
        "groups kept": [
            f"{group['kind']}: {len(group['nodes'])} nodes from {group['name']}" for group in record["kept"]
        ],
        "nodes in FP32": len(single & set(named)),
        "nodes": len([name for name in named if not name.startswith(("pre/", "post/"))]),
        "search drop": record["chosen"]["drop"]["points"],
        "search seconds": record["seconds"],
        "rtx": types,
    }
    typed = types["kept"]["Half"] == 0 and types["others"]["Float"] == 0
    return result, typed and drops["searched"].points <= arguments.max_drop + MARGIN


def table(rows: Iterable[dict[str, object]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| detector | float AP | every operation in FP16 | by rule | searched | work in FP16 | FP32 nodes |",
        "|---|---|---|---|---|---|---|",
    ]
    for found in rows:
        ap, share, drop = found["ap"], found["share"], found["drop"]
        assert isinstance(ap, dict)
        assert isinstance(share, dict)
        assert isinstance(drop, dict)
        cells = [f"{ap[name]:.2f} ({drop[name]})" for name in ("plain", "rules", "searched")]
        cells += [f"{100 * share['searched']:.2f} %", f"{found['nodes in FP32']} of {found['nodes']}"]
        lines.append(f"| {found['bundle']} | {ap['float']:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure every bundle, print the table and check the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--search", type=Path, action="append", required=True)
    parser.add_argument("--search-annotations", type=Path, action="append", required=True)
    parser.add_argument("--search-limit", type=int, action="append", required=True)
    parser.add_argument("--held", type=Path, required=True)
    parser.add_argument("--held-annotations", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--calib-images", type=int, default=64)
    parser.add_argument("--max-drop", type=float, default=0.3)
    parser.add_argument("--confidence", type=float, default=0.9)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    device = device_facts()
    print(f"{device.cpu}, {device.cores_usable:g} cores, {device.system}, Python {device.python}")
    rows, kept = [], True
    for path in arguments.bundles:
        found, holds = row(Bundle.open(path), arguments)
        print(json.dumps(found, indent=1), flush=True)
        rows.append(found)
        kept &= holds
    print(table(rows))
    if arguments.record:
        arguments.record.write_text(json.dumps({"cpu": device.cpu, "rows": rows}, indent=2) + "\n")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
