"""Writes the tables of the documentation that are made from records in `benchmarks/results/`.

``python -m benchmarks.tables`` writes all of them. With ``--check`` it changes nothing, and the exit code is 1 if a
table differs from its records. In a page, a table is between a line ``<!-- table NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import record as peers
from edgevision.storage import atomic

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "benchmarks/results"
NETWORKS = {"yolov5n": "YOLOv5n", "yolov8n": "YOLOv8n", "yolo26n": "YOLO26n"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a page."""

    page: str
    """Path in the repository."""
    name: str
    lines: Callable[[], Sequence[str]]
    """Markdown, made from records."""


def markdown_lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def read_result(name: str) -> Any:
    """A record of `benchmarks/results/`."""
    return json.loads((RESULTS / name).read_text())


def launch_lines() -> list[str]:
    """Time beyond the network alone, by network and engine."""
    engines = {
        "onnxruntime": "ONNX Runtime",
        "openvino f32": "OpenVINO float32",
        "openvino bf16": "OpenVINO bfloat16",
    }
    figures = {
        (row["model"], row["engine"]): f"{row['beyond_percent']:.1f} % ({row['beyond_ms']:.1f} ms)"
        for row in read_result("launches-avx512-vnni.json")["figures"]
        if row["engine"] in engines
    }
    rows = [[title, *(figures[model, engine] for engine in engines)] for model, title in NETWORKS.items()]
    return markdown_lines(["network", *engines.values()], rows)


def peer_lines() -> list[str]:
    """The tables of a comparison with other programs, and its conditions."""
    return peers.tables(*peers.read(RESULTS / "peers-avx512-vnni.json")).splitlines()


TABLES = (
    Table("docs/graph.md", "launches", launch_lines),
    Table("docs/peers.md", "peers", peer_lines),
)


def with_table(text: str, table: Table) -> str:
    """The page's text with the table made again; raises `ValueError` if the page has no place for it."""
    marks = re.compile(rf"(<!-- table {re.escape(table.name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    if len(marks.findall(text)) != 1:
        raise ValueError(f"{table.page} needs one line <!-- table {table.name} --> and its <!-- end -->")
    body = "\n".join(["", *table.lines(), "", ""])
    return marks.sub(lambda found: f"{found[1]}{body}{found[2]}", text)


def main() -> int:
    """Write or check every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    differ = False
    for table in TABLES:
        page = REPOSITORY / table.page
        before = page.read_text()
        after = with_table(before, table)
        if after == before:
            continue
        differ = True
        print(f"{table.page}: table {table.name} {'differs from its records' if check else 'written'}")
        if not check:
            atomic.write_file(page, after.encode())
    return 1 if check and differ else 0


if __name__ == "__main__":
    sys.exit(main())
