"""Compiled loops over pictures on as many threads as torch computes with."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import torch

__all__ = ["over_pictures"]

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_making = threading.Lock()


def over_pictures(loop: Callable[..., Any], count: int, *arguments: Any) -> None:
    """`loop(first, end, *arguments)` over parts of 0 .. count - 1, one a thread of torch; waits for all of them.

    For loops that release the interpreter lock and give each picture a place of its own, so that no bit depends on how
    many threads there are. The threads sleep between two calls, unlike those of a second OpenMP library, which would
    spin on the cores that torch's own need.
    """
    threads = max(1, min(torch.get_num_threads(), count))
    ends = [count * number // threads for number in range(threads + 1)]
    if threads == 1:
        loop(0, count, *arguments)
        return
    others = [_pool(threads - 1).submit(loop, ends[n], ends[n + 1], *arguments) for n in range(1, threads)]
    loop(0, ends[1], *arguments)
    wait(others)
    for other in others:
        other.result()


def _pool(threads: int) -> ThreadPoolExecutor:
    # By process: a forked child has none of its parent's threads.
    key = (os.getpid(), threads)
    with _making:
        if key not in _pools:
            _pools[key] = ThreadPoolExecutor(threads, thread_name_prefix="fredbench-loops")
        return _pools[key]
