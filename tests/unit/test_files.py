"""Nothing half-written under a final name, and the disk's refusals in words."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT, environment
from hypothesis import given, settings
from hypothesis import strategies as st

from fredbench.foundation.errors import StorageError
from fredbench.foundation.files import (
    atomic_path,
    canonical_json,
    sha256_of,
    storage_errors,
    write_bytes,
    write_json,
    write_text,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_a_file_is_replaced_whole(tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes) -> None:
    folder = tmp_path_factory.mktemp("files")
    for data in (old, new):
        write_bytes(folder / "deep" / "file", data)
        assert (folder / "deep" / "file").read_bytes() == data
        assert sha256_of(folder / "deep" / "file") == hashlib.sha256(data).hexdigest()
    assert [path.name for path in (folder / "deep").iterdir()] == ["file"]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2000), st.sampled_from([ValueError, KeyboardInterrupt, MemoryError]))
def test_a_failure_while_writing_leaves_what_was_there(
    tmp_path_factory: pytest.TempPathFactory, written: int, failure: type[BaseException]
) -> None:
    path = tmp_path_factory.mktemp("files") / "file"
    write_text(path, "old")
    with pytest.raises(failure), atomic_path(path) as temporary:
        assert temporary.parent == path.parent and temporary != path
        temporary.write_bytes(b"x" * written)
        raise failure
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


def test_a_first_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError), atomic_path(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise ValueError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_said_to_be_full(tmp_path: Path, number: int) -> None:
    with pytest.raises(StorageError, match="no space left") as caught, storage_errors(tmp_path / "file"):
        raise OSError(number, "the system's words")
    assert str(tmp_path / "file") in caught.value.message and "--store" in caught.value.hint


def test_other_failures_of_the_system_keep_their_kind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), storage_errors(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "no such file")


def test_a_file_in_place_of_a_folder_and_the_reverse(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "taken" / "new", tmp_path / "taken" / "deep" / "new", tmp_path / "folder"):
        with pytest.raises(StorageError, match="cannot write") as caught:
            write_text(path, "text")
        assert str(path) in caught.value.message
    with pytest.raises(StorageError, match="cannot write"):
        write_text(tmp_path / ("long" * 100), "text")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "taken"]


def test_a_limit_on_file_sizes_leaves_no_part(tmp_path: Path) -> None:
    """The kernel's own refusal in the middle of a write, in a process of its own."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from pathlib import Path\n"
        "from fredbench.foundation.errors import StorageError\n"
        "from fredbench.foundation.files import write_bytes\n"
        f"try:\n write_bytes(Path({str(tmp_path / 'out' / 'big')!r}), bytes(200_000))\n"
        "except StorageError as error:\n raise SystemExit(7 if 'no space left' in error.message else 8) from error\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), check=False).returncode == 7
    assert list((tmp_path / "out").iterdir()) == []


def test_files_are_readable_by_others(tmp_path: Path) -> None:
    write_json(tmp_path / "value.json", {"a": [1, None]})
    assert (tmp_path / "value.json").stat().st_mode & 0o777 == 0o644
    assert json.loads((tmp_path / "value.json").read_text()) == {"a": [1, None]}


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(max_size=4), json_values, max_size=6), st.randoms(use_true_random=False))
def test_equal_values_have_one_canonical_text(value: dict[str, object], shuffle) -> None:
    items = list(value.items())
    shuffle.shuffle(items)
    text = canonical_json(value)
    assert canonical_json(dict(items)) == text and json.loads(text) == value
    assert text.isascii() and "\n" not in text


def test_different_values_have_different_texts() -> None:
    values = [1, 1.5, "1", True, None, [1], {"1": 1}, {"1": "1"}]
    assert len({canonical_json(value) for value in values}) == len(values)
