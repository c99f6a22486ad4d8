"""Work on parts of a batch, side by side, each part with one thread of torch."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

__all__ = ["in_rounds", "one_by_one", "side_by_side", "within_part"]

P = TypeVar("P")
R = TypeVar("R")

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_making = threading.Lock()
# Of `in_rounds`: parts of each thread in a round, and parts that a batch is cut into by blocks of networks, at most.
_EACH, _WITHIN = 8, 4
# Bytes that parts hold side by side beside what the work on them takes, a few times as much.
_HELD = 256 << 20
_here = threading.local()
# omp_pause_soft of OpenMP 5.0.
_SOFT = 1


def side_by_side(work: Callable[[P], R], parts: Sequence[P], *, at_most: int | None = None) -> list[R]:
    """`work` of each of `parts`, in their order, on as many threads as torch computes with in the calling one.

    As `one_by_one`, of all parts at once.
    """
    return list(one_by_one(work, parts, at_most=at_most))


def one_by_one(work: Callable[[P], R], parts: Sequence[P], *, at_most: int | None = None) -> Iterator[R]:
    """`work` of each of `parts`, each as soon as it and those before it are done; work goes on meanwhile.

    at_most: parts at once, where each holds much memory. Context variables and torch's mode of gradients are not
    those of the caller: `work` sets what it needs.

    Within a part torch has one thread, whatever there is outside: no part waits for another between two operations, and
    no bit depends on how many threads there are. Worth it where `work` mostly releases the interpreter lock.
    """
    threads = torch.get_num_threads()

    def of_part(part: P) -> R:
        before, _here.within = within_part(), True
        try:
            return work(part)
        finally:
            _here.within = before

    if threads == 1 or not parts:
        yield from map(of_part, parts)
        return
    _rest_openmp()
    yield from _pool(max(1, min(threads, len(parts), at_most or threads))).map(of_part, parts)


def in_rounds(work: Callable[[P], R], parts: Sequence[P], *, held: int = 0) -> Iterator[R]:
    """`work` of each of `parts`, in their order, side by side in rounds that give each thread a few.

    For `work` that cuts what it is given into parts by itself, and gives the same bits either way: the few that are
    left over when all threads have had as many come one after the other, with all threads within, where that is sooner.
    No part is worked on while the caller has what a round made, which so has all threads for what it does with that.

    held: bytes of a part; no more are worked on at once than hold 256 MiB together.
    """
    threads = min(torch.get_num_threads(), max(1, _HELD // max(1, held)))
    left = len(parts) % threads if threads > 1 else len(parts)
    alone = left if threads == 1 or left < _WITHIN else 0
    shared = len(parts) - alone
    for first in range(0, shared, threads * _EACH):
        yield from side_by_side(work, parts[first : min(first + threads * _EACH, shared)], at_most=threads)
    yield from map(work, parts[shared:])


def within_part() -> bool:
    """Whether the calling code works on a part already: then there is nothing to gain from parting it further."""
    return getattr(_here, "within", False)


def _pool(threads: int) -> ThreadPoolExecutor:
    # By process: a forked child has none of its parent's threads.
    key = (os.getpid(), threads)
    with _making:
        if key not in _pools:
            here = torch.get_num_threads()
            pool = ThreadPoolExecutor(threads, "fredbench-part", initializer=_take_one_thread)
            everyone = threading.Barrier(threads)
            for done in [pool.submit(everyone.wait) for _ in range(threads)]:
                done.result()
            # The number is each thread's own, but the last one set is what later threads of the process begin with.
            torch.set_num_threads(here)
            _pools[key] = pool
        return _pools[key]


def _take_one_thread() -> None:
    torch.set_num_threads(1)
    # Asked for at once: a thread that has not computed takes up, when it does, what was set last anywhere.
    torch.get_num_threads()


def _rest_openmp() -> None:
    """Send the calling thread's OpenMP workers home: for milliseconds after an operation of torch they would spin.

    On two cores that takes half of one from whoever works next: a training pass of 160 pictures by fused blocks took
    140 ms with them and 108 without. They are made again, in some .1 ms, when torch needs them.
    """
    pause = _pause()
    if pause is not None:
        pause(_SOFT)


@cache
def _pause() -> Callable[[int], int] | None:
    """`omp_pause_resource_all` of the OpenMP library that torch brought, if it is one that has it."""
    for file in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*")):
        function = getattr(ctypes.CDLL(str(file)), "omp_pause_resource_all", None)
        if function is not None:
            function.argtypes, function.restype = [ctypes.c_int], ctypes.c_int
            return function  # type: ignore[no-any-return]
    return None
