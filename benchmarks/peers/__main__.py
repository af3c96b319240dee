"""edgevision beside other programs: the same weights, clip, thresholds and cores, in turns.

``python -m benchmarks.peers --environments DIR --work DIR --record FILE`` makes a virtual environment for each
program, exports the checkpoints by the programs' own exporters, and runs every program in a new process in every turn.
It measures frames/s, CPU time, peak memory and the time to the first result, and AP on labelled images. docs/peers.md
explains the figures. Nothing is installed outside `--environments`.

Exit code 1 if a target of `targets.py` is missed, 2 if no program could be measured.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import record
from benchmarks.peers.accuracy import average_precision
from benchmarks.peers.environments import (
    Environment,
    FailedStepError,
    Setup,
    open_environment,
    yolov5_commit,
)
from benchmarks.peers.measuring import Launch, Run, run_of
from benchmarks.peers.models import MODELS, NO_GPU, File, Model, Workplace, class_names, prepared
from benchmarks.peers.programs import PEERS, Peer
from benchmarks.peers.record import Row
from benchmarks.peers.targets import targets
from edgevision.benchmark.source_state import git_state
from edgevision.contract.spec import utc_now
from edgevision.device.facts import device_facts, nvidia_gpus
from edgevision.evaluation.detection import PROTOCOL_FLOOR, PROTOCOL_IOU, read_annotations
from edgevision.storage.codec import json_from_dataclass

DATA = Path(os.environ.get("EDGEVISION_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
CONFIDENCE, IOU, MOST = 0.25, 0.45, 300


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="benchmarks.peers"
    )
    add = parser.add_argument
    add("--turns", type=int, default=5, help="turns, each with one run of every program [5]")
    add("--frames", type=int, default=400, help="frames of the clip in each run [400]")
    add(
        "--environments", type=Path, default=Path("out/peers/environments"), help="folder of the environments"
    )
    add("--work", type=Path, default=Path("out/peers/work"), help="folder of the exported models")
    add("--data", type=Path, default=DATA, help="folder with weights, coco and video [EDGEVISION_DATA]")
    add("--clip", type=Path, help="video [video/vtest.avi in --data]")
    add("--models", nargs="+", choices=[model.name for model in MODELS], help="models [all]")
    add("--only", nargs="+", metavar="TEXT", help="programs whose names contain one of these texts [all]")
    add("--yolov5", type=Path, help="a clone of YOLOv5 [cloned from GitHub at a pinned commit]")
    add(
        "--constraint", type=Path, action="append", default=[], help="file of constraints for pip; repeatable"
    )
    add("--find-links", action="append", default=[], help="folder of wheels for pip; repeatable")
    add("--cores", help="cores for every program, such as 0,1 [those of this process]")
    add("--timeout", type=float, default=900.0, help="time limit of a run in seconds [900]")
    add("--step-timeout", type=float, default=3600.0, help="time limit of an installation or export [3600]")
    add("--images", type=int, help="labelled images for AP; 0: no AP [all of coco/eval]")
    add("--search-images", type=int, default=512, help="images of coco/train for the search of INT8 [512]")
    add("--reuse", action="store_true", help="use the exported models of an earlier run in --work")
    add("--note", default="", help="a sentence for the record and the page, for example on the packages")
    add("--record", type=Path, help="write the record to this file after every turn")
    return parser.parse_args()


class Comparison:
    """Everything that a comparison needs, and its rows."""

    def __init__(self, options: argparse.Namespace) -> None:
        cores = options.cores or ",".join(map(str, sorted(os.sched_getaffinity(0))))
        self.cores = sorted({int(core) for core in cores.split(",")})
        self.options = options
        self.setup = Setup(
            options.environments.resolve(),
            None if options.yolov5 is None else options.yolov5.resolve(),
            tuple(path.resolve() for path in options.constraint),
            tuple(str(Path(place).resolve()) for place in options.find_links),
            options.step_timeout,
        )
        work = options.work.resolve()
        self.place = Workplace(work, options.data.resolve(), self.setup, options.search_images, options.reuse)
        self.launch = Launch(work, options.timeout, frozenset(self.cores))
        self.clip = (options.clip or options.data / "video" / "vtest.avi").resolve()
        self.models = [one for one in MODELS if options.models is None or one.name in options.models]
        self.environments: dict[str, Environment] = {}
        self.rows: list[Row] = []
        self.head: dict[str, Any] = {}

    def peers_of(self, model: Model) -> list[Peer]:
        """The programs to run with a model."""
        wanted = self.options.only or [""]
        return [
            one
            for one in PEERS
            if model.family in one.families and any(text.lower() in one.name.lower() for text in wanted)
        ]

    def environment(self, peer: Peer) -> Environment:
        """The peer's environment; it is made at the first call."""
        if peer.environment not in self.environments:
            self.environments[peer.environment] = open_environment(peer.environment, self.setup)
        return self.environments[peer.environment]

    def prepare(self) -> list[tuple[Row, Peer, Model, File]]:
        """Make environments and files; a failure becomes the reason of a row."""
        jobs = []
        for model in self.models:
            peers = self.peers_of(model)
            kinds = {peer.file for peer in peers if nvidia_gpus() or not peer.gpu}
            files = prepared(model, kinds, self.place)
            for peer in peers:
                row = Row(model.name, peer.name, peer.environment)
                self.rows.append(row)
                file = files.get(peer.file, NO_GPU)
                if peer.gpu and not nvidia_gpus():
                    file = NO_GPU
                try:
                    if isinstance(file, Path):
                        self.environment(peer)
                except FailedStepError as error:
                    file = str(error)
                row.reason = file if isinstance(file, str) else None
                jobs.append((row, peer, model, file))
        self.describe()
        return jobs

    def describe(self) -> None:
        """The head of the record."""
        settings = {
            "turns": self.options.turns,
            "frames": self.options.frames,
            "clip": self.clip.name,
            "confidence": CONFIDENCE,
            "iou": IOU,
            "most_detections": MOST,
            "accuracy_confidence": PROTOCOL_FLOOR,
            "accuracy_iou": PROTOCOL_IOU,
            "accuracy_images": 0,
            "cores": self.cores,
        }
        environments = {
            name: {"command": list(one.installed), "mib": one.size_mib, "packages": one.packages}
            for name, one in self.environments.items()
        }
        if "yolov5" in environments:
            environments["yolov5"]["commit"] = yolov5_commit(self.setup)
        state = git_state(Path(__file__).resolve())
        self.head = {
            "created": utc_now(),
            "load": os.getloadavg()[0],
            "git": None if state is None else json_from_dataclass(state),
            "device": json_from_dataclass(device_facts()),
            "note": self.options.note,
            "settings": settings,
            "models": [{"name": one.name, "trained": one.trained} for one in self.models],
            "environments": environments,
        }

    def save(self) -> None:
        """Write the record, if a file was given."""
        if self.options.record is not None:
            record.write(self.options.record, self.head, self.rows)

    def command(self, peer: Peer, file: Path, source: Path, *more: str) -> list[str]:
        """The command of a runner."""
        module = f"benchmarks.peers.runners.{peer.runner}"
        given = ["--model", str(file), "--source", str(source), "--most", str(MOST)]
        given += ["--program", str(self.setup.program)] if peer.environment == "yolov5" else []
        given += ["--precision", peer.precision] if peer.precision else []
        return [str(self.environments[peer.environment].python), "-m", module, *given, *more]

    def measure(self, peer: Peer, file: Path, frames: int) -> Run:
        """One run on the clip. Raises `FailedStepError`."""
        thresholds = ("--confidence", str(CONFIDENCE), "--iou", str(IOU))
        return run_of(
            *self.launch.run(self.command(peer, file, self.clip, "--frames", str(frames), *thresholds))
        )


def run_turns(comparison: Comparison, jobs: Sequence[tuple[Row, Peer, Model, File]]) -> None:
    """Run every program once in every turn, in an order that changes; a failed one is not run again."""
    shuffled = random.Random(0)
    runnable = [(row, peer, file) for row, peer, _, file in jobs if isinstance(file, Path)]
    for turn in range(comparison.options.turns + 1):  # the first fills the caches of the disk
        order = [one for one in runnable if one[0].reason is None]
        shuffled.shuffle(order)
        for row, peer, file in order:
            try:
                run = comparison.measure(peer, file, comparison.options.frames if turn else 3)
            except FailedStepError as error:
                row.reason = str(error)
                print(f"turn {turn}: {row.model}, {peer.name}: {error}", flush=True)
                continue
            if turn:
                row.runs.append(run)
                row.turns.append(turn)
                print(
                    f"turn {turn}: {row.model}, {peer.name}: {run.frames_per_s:.1f} frames/s, {run.peak_mib:.0f} MiB",
                    flush=True,
                )
        comparison.save()


def measure_accuracy(comparison: Comparison, jobs: Sequence[tuple[Row, Peer, Model, File]]) -> None:
    """AP of every program that ran, with trained weights."""
    coco = comparison.place.data / "coco"
    names = class_names(coco)
    labelled = read_annotations(coco / "eval.json", coco / "eval", names, limit=comparison.options.images)
    comparison.head["settings"]["accuracy_images"] = len(labelled.files)
    listed = comparison.place.work / "images.txt"
    listed.write_text("".join(f"{path.resolve()}\n" for path in labelled.files.values()))
    for row, peer, model, file in jobs:
        if not (model.trained and peer.accuracy and row.runs and isinstance(file, Path)):
            continue
        output = comparison.place.work / "detections.json"
        output.unlink(missing_ok=True)
        thresholds = ("--confidence", str(PROTOCOL_FLOOR), "--iou", str(PROTOCOL_IOU))
        command = comparison.command(peer, file, listed, "--images", "--output", str(output), *thresholds)
        try:
            comparison.launch.run(command)
        except FailedStepError as error:
            row.reason = f"AP: {error}"
        else:
            row.ap, row.ap50 = average_precision(labelled, json.loads(output.read_text()))
        print(f"AP: {model.name}, {peer.name}: {row.ap if row.ap is not None else row.reason}", flush=True)
        comparison.save()


def main() -> int:
    """Compare, print the tables and check the targets."""
    options = arguments()
    comparison = Comparison(options)
    for folder in (comparison.setup.folder, comparison.place.work):
        folder.mkdir(parents=True, exist_ok=True)
    jobs = comparison.prepare()
    run_turns(comparison, jobs)
    if options.images != 0:
        measure_accuracy(comparison, jobs)
    comparison.save()
    print("\n" + record.tables(comparison.head, comparison.rows) + "\n")
    vnni = any(word in comparison.head["device"]["cpu_class"] for word in ("VNNI", "AMX"))
    good = True
    for name, rows in itertools.groupby(comparison.rows, key=lambda row: row.model):
        for target in targets(list(rows), vnni=vnni):
            good &= target.holds
            print(f"{'ok  ' if target.holds else 'FAIL'}  {name}: {target.text}")
    if not any(row.runs for row in comparison.rows):
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
