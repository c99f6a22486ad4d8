"""The real download code against a server on this machine that can be told to misbehave."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from dataset_forms import cifar10_batches, random_pictures, write_archive
from filelock import FileLock

from fredbench.datasets import DATASETS, Family, RemoteFile, fetch_dataset, load_dataset
from fredbench.datasets.download import fetch, fetch_file
from fredbench.foundation.errors import DataError, StorageError

CONTENT = np.random.default_rng(0).bytes(700_000)


@dataclass
class Server:
    """What a path answers: `content`, cut after `stop_after` bytes, ignoring ranges unless `ranges`."""

    url: str
    content: dict[str, bytes] = field(default_factory=dict)
    stop_after: dict[str, int] = field(default_factory=dict)
    ranges: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            state.requests.append((self.path, asked))
            content = state.content.get(self.path)
            if content is None:
                self.send_error(404)
                return
            begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.ranges else 0
            if begin >= len(content) > 0:
                self.send_error(416)
                return
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            self.wfile.write(content[begin : state.stop_after.get(self.path, len(content))])

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}"
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def remote(server: Server, *paths: str, content: bytes = CONTENT) -> RemoteFile:
    return RemoteFile("set.bin", tuple(server.url + p for p in paths), md5=hashlib.md5(content).hexdigest())


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_whole_file_arrives_and_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    server.content["/a"] = CONTENT
    path = fetch_file(remote(server, "/a"), tmp_path / "new")
    assert path.read_bytes() == CONTENT and visible(tmp_path / "new") == ["set.bin"]
    fetch_file(remote(server, "/a"), tmp_path / "new")
    assert len(server.requests) == 1


def test_sha256_is_compared_too(server: Server, tmp_path: Path) -> None:
    server.content["/a"] = CONTENT
    right = hashlib.sha256(CONTENT).hexdigest()
    assert fetch_file(replace(remote(server, "/a"), md5="", sha256=right), tmp_path).exists()
    with pytest.raises(DataError, match="another checksum"):
        fetch_file(replace(remote(server, "/a"), md5="", sha256="0" * 64), tmp_path)


def test_a_wrong_checksum_is_refused_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.content["/a"] = CONTENT[::-1]
    with pytest.raises(DataError, match=r"cannot fetch set\.bin.*another checksum") as caught:
        fetch_file(remote(server, "/a"), tmp_path)
    assert visible(tmp_path) == [] and not (tmp_path / ".set.bin.part").exists()
    assert "\n" not in str(caught.value) and str(tmp_path / "set.bin") in caught.value.hint


def test_the_next_mirror_is_tried(server: Server, tmp_path: Path) -> None:
    server.content |= {"/wrong": b"something else", "/right": CONTENT}
    path = fetch_file(remote(server, "/missing", "/wrong", "/right"), tmp_path)
    assert path.read_bytes() == CONTENT and [p for p, _ in server.requests] == [
        "/missing",
        "/wrong",
        "/right",
    ]


def test_a_missing_file_and_a_dead_server_are_said(server: Server, tmp_path: Path) -> None:
    dead = replace(remote(server, "/missing"), urls=(f"{server.url}/missing", "http://127.0.0.1:9/x"))
    with pytest.raises(DataError, match=r"HTTP 404 .*127\.0\.0\.1:9/x: .*refused"):
        fetch_file(dead, tmp_path)
    assert visible(tmp_path) == []


def test_a_transfer_that_broke_off_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.content["/a"], server.stop_after["/a"] = CONTENT, 300_000
    with pytest.raises(DataError, match=r"broke off after 300000 of 700000 bytes|IncompleteRead"):
        fetch_file(remote(server, "/a"), tmp_path)
    assert visible(tmp_path) == [] and (tmp_path / ".set.bin.part").stat().st_size == 300_000
    server.stop_after.clear()
    assert fetch_file(remote(server, "/a"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/a", "bytes=300000-")


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.content["/a"], server.ranges = CONTENT, False
    (tmp_path / ".set.bin.part").write_bytes(CONTENT[:1000])
    assert fetch_file(remote(server, "/a"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"of another file", b"x" * 800_000])
def test_a_wrong_beginning_is_dropped_and_all_is_fetched_anew(server: Server, tmp_path: Path, left: bytes) -> None:
    server.content["/a"] = CONTENT
    (tmp_path / ".set.bin.part").write_bytes(left)
    assert fetch_file(remote(server, "/a"), tmp_path).read_bytes() == CONTENT


def test_an_interrupt_leaves_only_what_can_be_resumed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fredbench.datasets import download

    server.content["/a"] = CONTENT

    class Interrupting(download.Progress):
        def advance(self, count: int = 1, note: str | None = None) -> None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(download, "Progress", Interrupting)
        fetch_file(remote(server, "/a"), tmp_path)
    assert visible(tmp_path) == [] and (tmp_path / ".set.bin.part").exists()
    assert fetch_file(remote(server, "/a"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1][1].startswith("bytes=")


def test_an_altered_file_under_the_final_name_is_replaced(server: Server, tmp_path: Path) -> None:
    server.content["/a"] = CONTENT
    (tmp_path / "set.bin").write_bytes(b"half")
    assert fetch_file(remote(server, "/a"), tmp_path).read_bytes() == CONTENT


def test_a_second_process_waits_for_the_first(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    server.content["/a"] = CONTENT
    hold = (
        "import sys, time, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); "
        "print('held', flush=True); time.sleep(0.5); lock.release()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / ".set.bin.lock")], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        assert fetch_file(remote(server, "/a"), tmp_path).read_bytes() == CONTENT
    told = capfd.readouterr().err
    assert other.returncode == 0 and "another process fetches" in told and "waiting for it" in told


def test_it_does_not_wait_for_ever(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREDBENCH_LOCK_SECONDS", "0.2")
    with FileLock(tmp_path / ".set.bin.lock"), pytest.raises(StorageError, match="another process fetches") as caught:
        fetch_file(remote(server, "/a"), tmp_path)
    assert caught.value.hint == "wait for it"


def test_a_place_that_cannot_be_written_is_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        fetch_file(remote(server, "/a"), tmp_path / "file" / "below")


def test_a_missing_set_is_fetched_on_first_use(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FREDBENCH_OFFLINE", raising=False)
    pictures = random_pictures(50), np.arange(50) % 10
    write_archive(tmp_path / "made.tar.gz", "cifar-10-batches-py", cifar10_batches(pictures, pictures))
    data = (tmp_path / "made.tar.gz").read_bytes()
    server.content["/c"] = data
    real = DATASETS.get("cifar10")
    file = RemoteFile(real.remote[0].name, (f"{server.url}/c",), md5=hashlib.md5(data).hexdigest())
    stand_in: Family = replace(real, remote=(file,))
    monkeypatch.setitem(DATASETS._targets, "cifar10", stand_in)
    with pytest.raises(DataError, match="offline"):
        fetch_dataset("cifar10", root=tmp_path / "root", offline=True)
    assert server.requests == [] and not (tmp_path / "root").exists()
    dataset = load_dataset("cifar10", root=tmp_path / "root")
    np.testing.assert_array_equal(dataset.train.images, pictures[0])
    assert fetch_dataset("cifar10", root=tmp_path / "root") == [tmp_path / "root" / "cifar10" / file.name]
    assert len(server.requests) == 1


def test_what_cannot_be_fetched_says_what_to_bring(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="imagefruit cannot be fetched") as caught:
        fetch(DATASETS.get("imagefruit"), tmp_path)
    assert "<wnid>" in caught.value.hint
