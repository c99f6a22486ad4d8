"""Writing files so that nothing half-written is ever seen under a final name."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fredbench.foundation.errors import StorageError

__all__ = [
    "age_of",
    "atomic_path",
    "canonical_json",
    "checksum_of",
    "digest_of",
    "remove_abandoned",
    "sha256_of",
    "storage_errors",
    "write_bytes",
    "write_json",
    "write_text",
]

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Not ours to write, or not writable: a file where a folder must be (or the reverse), a name that is too long.
_REFUSED = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
}  # fmt: skip

_PART = ".part"
# What another host writes may be held in a way that only that host sees. A file that is written for so long without a
# touch is not known, and a leftover does no harm meanwhile.
_FOREIGN_SECONDS = 600.0
_HOST_IN_NAME = re.compile(r"\.[0-9a-f]{8}\.part$")


def _ending() -> str:
    """Of the half-written files of this host: its name may be too long for a file's, and is hashed."""
    return f".{hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]}{_PART}"


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the disk's refusals (full, too large, not writable) into a `StorageError` that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            hint = "free some space or choose another place with --store or --out"
            raise StorageError(f"no space left to write {path}: {error.strerror}", hint=hint) from error
        if error.errno in _REFUSED:
            hint = "choose a writable place with --store or --out"
            raise StorageError(f"cannot write {path}: {error.strerror}", hint=hint) from error
        raise


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it over `path`.

    On any failure the temporary file is removed and `path` is left as it was. While it is written it is held, so that
    `remove_abandoned` of another process lets it be; the system lets go of it where this one dies.
    """
    path = Path(path)
    temporary: Path | None = None
    held: int | None = None
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            held, temporary = _held_file(path)
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
            temporary = None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if held is not None:
            os.close(held)


def _held_file(path: Path) -> tuple[int, Path]:
    """A new file beside `path`, open and held."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_ending(), dir=path.parent)
        # Between its making and its holding another process may have taken it for abandoned: then once more.
        if _hold(handle) is not False and os.path.exists(name):
            return handle, Path(name)
        os.close(handle)


def _hold(handle: int) -> bool | None:
    """Whether the open file is held by this process now; None where the file system knows no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def remove_abandoned(folder: Path) -> None:
    """Remove the half-written files that killed processes left in `folder`; those that are being written stay.

    Where the file system knows no locks nothing is removed: what a process that lives is writing must not go. Many
    mounts keep locks to one host: files of another go only if nobody touched them for ten minutes.
    """
    for left in folder.glob(f".*{_PART}"):
        try:
            handle = os.open(left, os.O_RDWR)
        except OSError:
            continue  # gone by now, a folder, or not ours to remove
        try:
            foreign = _HOST_IN_NAME.search(left.name) is not None and not left.name.endswith(_ending())
            if _hold(handle) and (not foreign or age_of(handle, folder) >= _FOREIGN_SECONDS):
                left.unlink(missing_ok=True)
        finally:
            os.close(handle)


def age_of(handle: int, folder: Path) -> float:
    """Seconds since the open file, which lies in `folder`, was touched, by the clock of the disk: hosts' may differ."""
    clock, name = _held_file(folder / "clock")
    try:
        return os.fstat(clock).st_mtime - os.fstat(handle).st_mtime
    finally:
        name.unlink(missing_ok=True)
        os.close(clock)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, atomically."""
    write_text(path, json.dumps(value, indent=1, sort_keys=False) + "\n")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks: equal values give equal text, fit for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest_of(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def checksum_of(path: Path, algorithm: str) -> str:
    """Hex checksum of a file's bytes (`algorithm`: md5 or sha256)."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    return checksum_of(path, "sha256")
