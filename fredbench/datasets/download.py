"""Fetching published files: to a temporary name, resumed where it stopped, checked, then renamed.

Mirrors are tried in turn.
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from fredbench.datasets.family import Family, RemoteFile
from fredbench.foundation.errors import DataError
from fredbench.foundation.files import checksum_of, storage_errors
from fredbench.foundation.locks import held
from fredbench.foundation.progress import Progress, say

__all__ = ["fetch", "fetch_file"]

_CHUNK = 1 << 18
_TIMEOUT_SECONDS = 30.0
_MEGABYTE = 1 << 20


class _MirrorError(Exception):
    """One mirror did not give the file; the next may."""


def _is_right(path: Path, file: RemoteFile) -> bool:
    if file.sha256:
        return checksum_of(path, "sha256") == file.sha256
    return not file.md5 or checksum_of(path, "md5") == file.md5


def _stream(url: str, part: Path) -> None:
    """Bring `url` to `part`, after the bytes that are there already; `_MirrorError` when it breaks off."""
    begin = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "fredbench"})
    if begin:
        request.add_header("Range", f"bytes={begin}-")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            # A server that knows no ranges answers 200 with the whole file.
            if answer.status != 206:
                begin = 0
            length = answer.headers.get("Content-Length", "")
            total = begin + int(length) if length.isdigit() else 0
            done = _copy(answer, part, begin, total)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            # What is here is as long as the file or longer: the checksum decides.
            return
        raise _MirrorError(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _MirrorError(str(error.reason)) from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _MirrorError(f"{type(error).__name__}: {error}") from error
    if total and done < total:
        raise _MirrorError(f"broke off after {done} of {total} bytes")


def _copy(answer: http.client.HTTPResponse, part: Path, begin: int, total: int) -> int:
    """Append the answer's body to `part` from byte `begin`; the length reached."""
    done = begin
    megabytes = max(1, round(total / _MEGABYTE))
    with (
        storage_errors(part),
        open(part, "r+b" if begin else "wb") as file,
        Progress(f"fetching {part.name.strip('.').removesuffix('.part')}", megabytes, unit="MB") as progress,
    ):
        file.seek(begin)
        file.truncate()
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            progress.advance(done // _MEGABYTE - progress.done)
        file.flush()
        os.fsync(file.fileno())
    return done


def _from_mirror(url: str, file: RemoteFile, part: Path) -> None:
    """The right file at `part`, else `_MirrorError`. A wrong file is removed, a short one is kept."""
    resumed = part.exists() and part.stat().st_size > 0
    _stream(url, part)
    if _is_right(part, file):
        return
    part.unlink()
    if resumed:
        # The bytes that were there may have been another file's: once more from the start.
        _stream(url, part)
        if _is_right(part, file):
            return
        part.unlink()
    raise _MirrorError("the file served has another checksum than the published one")


def fetch_file(file: RemoteFile, folder: Path) -> Path:
    """`file` in `folder`, fetched from the first mirror that serves it whole, unless it is there.

    An interrupted transfer leaves a hidden `.part` file, from which the next one goes on; the final name
    appears only after the checksum held. Others wanting the same file wait, a bounded time. Raises `DataError` when
    no mirror gave it.
    """
    target, part = folder / file.name, folder / f".{file.name}.part"
    with storage_errors(target):
        folder.mkdir(parents=True, exist_ok=True)
    with held(folder / f".{file.name}.lock", f"another process fetches {target}", "wait for it"):
        if target.is_file() and _is_right(target, file):
            return target
        failures = []
        for url in file.urls:
            say(f"fetching {url}")
            try:
                _from_mirror(url, file, part)
            except _MirrorError as failure:
                failures.append(f"{url}: {failure}")
                continue
            with storage_errors(target):
                os.chmod(part, 0o644)
                os.replace(part, target)
            return target
    raise DataError(
        f"cannot fetch {file.name}: {'; '.join(failures)}",
        hint=f"check the network and try again, or put the file at {target} yourself",
    )


def fetch(family: Family, root: Path) -> list[Path]:
    """All published files of `family`, into ROOT/<name>; `DataError` for a set that nobody may serve."""
    if not family.remote:
        raise DataError(f"{family.name} cannot be fetched", hint=family.provide or "it needs no files")
    return [fetch_file(file, root / family.name) for file in family.remote]
