"""`edgevision new-recipe`: skeletons of every task that export, verify and run untouched."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgevision.bundle.folder import Bundle
from edgevision.cli.root import edgevision
from edgevision.cli.skeletons import FOLDER, TASKS
from edgevision.errors import UsageError
from edgevision.sources.image_files import write_image
from edgevision.sources.synthetic_camera import SyntheticCamera


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(edgevision, [str(argument) for argument in arguments], catch_exceptions=False)


def code_lines(text: str) -> int:
    """Lines that are neither empty nor part of a comment or docstring."""
    texts: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            texts |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(1 for number, line in lines if line.strip() and line.strip()[0] != "#" and number not in texts)


def test_there_is_a_skeleton_of_every_task() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {*TASKS, "test_my_model", "test_my_generator"}


@pytest.mark.parametrize("task", TASKS)
def test_a_skeleton_has_at_most_40_lines(task: str) -> None:
    assert 20 < code_lines((FOLDER / f"{task}.py").read_text()) <= 40


@pytest.mark.parametrize("task", TASKS)
def test_a_skeleton_exports_and_runs_untouched(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    write_image(Path("street.jpg"), SyntheticCamera().frame(130))
    said = invoke("new-recipe", "mine", "--task", task).output
    assert "wrote mine.py and test_mine.py" in said
    assert "  edgevision export mine.py -o mine\n" in said
    invoke("export", "mine.py", "-o", "mine", "--no-fp16")
    bundle = Bundle.open(Path("mine"))
    assert bundle.spec.task == task
    assert bundle.spec.provenance.source == "mine.py"
    (record,) = bundle.graph("float").verifications
    assert record.passed
    assert any("of the network's raw output" in check.name for check in record.checks)
    if task == "generate":
        assert "  edgevision generate mine --count 16 -o mine.png\n" in said
        invoke("generate", "mine", "--count", "4", "-o", "grid.png")
        assert Path("grid.png").is_file()
        return
    invoke("run", "mine", "street.jpg", "--jsonl", "found.jsonl")
    (found,) = (json.loads(line) for line in Path("found.jsonl").read_text().splitlines())
    assert found["source"] == "street.jpg"


@pytest.mark.slow
def test_the_tests_of_the_skeletons_pass(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for task in TASKS:
        invoke("new-recipe", f"my_{task}", "--task", task, "-o", tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(Path(FOLDER).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{2 * len(TASKS)} passed" in done.stdout, done.stdout + done.stderr


def test_existing_files_are_kept_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("# my work\n")
    with pytest.raises(UsageError, match=r"test_mine.py already exists; .* --force"):
        invoke("new-recipe", "mine", "--task", "pose", "-o", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test_mine.py"]
    assert (tmp_path / "test_mine.py").read_text() == "# my work\n"
    invoke("new-recipe", "mine", "--task", "pose", "-o", tmp_path, "--force")
    assert 'task="pose"' in (tmp_path / "mine.py").read_text()
    assert "my_model" not in (tmp_path / "test_mine.py").read_text()


def test_both_files_appear_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when the second file is written."""
    honest = Path.write_text

    def full(self: Path, data: str, **options: str) -> int:
        if "test_mine" in self.name:
            raise OSError(28, "No space left on device")
        return honest(self, data, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UsageError, match="cannot write into .*: No space left on device"):
        invoke("new-recipe", "mine", "--task", "detect", "-o", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a-b", "2nd", "a/b", "a.py", ""])
def test_a_name_is_a_module(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="NAME is .*; expected letters, digits and _"):
        invoke("new-recipe", name, "--task", "detect", "-o", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["numpy", "torch", "random"])
def test_a_name_of_a_module_is_refused(name: str, tmp_path: Path) -> None:
    """numpy.py would take numpy's place in everything that its folder's code imports."""
    with pytest.raises(UsageError, match=f"NAME is '{name}', and a module has this name"):
        invoke("new-recipe", name, "--task", "detect", "-o", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["mine.py", "test_mine.py"])
def test_a_folder_of_the_name_leaves_no_half_recipe(taken: str, tmp_path: Path) -> None:
    (tmp_path / taken).mkdir()
    with pytest.raises(UsageError, match=f"{taken} is a folder; choose another NAME"):
        invoke("new-recipe", "mine", "--task", "detect", "-o", tmp_path, "--force")
    assert [path.name for path in tmp_path.iterdir()] == [taken]
