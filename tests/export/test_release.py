"""A published checkpoint is checked, whatever its origin."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from edgevision.errors import CheckpointError
from edgevision.export.release import obtain
from edgevision.models.recipe import Release

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # http.server's name
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT if self.path == "/good" else CONTENT[:-1])

        def log_message(self, format: str, *args: object) -> None:  # http.server's name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEVISION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def release(url: str) -> Release:
    return Release("m.pt", url, SHA256, "AGPL-3.0")


def test_downloaded_once_then_cached(server: str, cache: Path) -> None:
    steps: list[str] = []
    assert obtain(release(f"{server}/good"), steps.append) == cache / "m.pt"
    assert steps == [f"downloading {server}/good (AGPL-3.0)"]
    assert obtain(release("http://127.0.0.1:9/none"), steps.append).read_bytes() == CONTENT
    assert len(steps) == 1


def test_a_wrong_download_is_not_kept(server: str, cache: Path) -> None:
    with pytest.raises(CheckpointError, match="is not m.pt: sha256"):
        obtain(release(f"{server}/short"), lambda _: None)
    assert list(cache.iterdir()) == []


def test_a_wrong_file_in_the_cache_is_refused(cache: Path) -> None:
    cache.mkdir()
    (cache / "m.pt").write_bytes(b"other")
    with pytest.raises(CheckpointError, match="expected .* remove it"):
        obtain(release("http://127.0.0.1:9/none"), lambda _: None)


def test_the_data_folder_takes_precedence(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "m.pt").write_bytes(CONTENT)
    found = obtain(release("http://127.0.0.1:9/none"), lambda _: None, data=tmp_path)
    assert found == tmp_path / "weights" / "m.pt"


def test_error_without_network_and_data_names_the_fix(cache: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"cannot be reached .* put m\.pt into .* or set EDGEVISION_DATA"
    ):
        obtain(release("http://127.0.0.1:9/none"), lambda _: None)
    assert list(cache.iterdir()) == []
