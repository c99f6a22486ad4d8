"""Doing jobs in this process or in several: the bytes are the same, since a job knows its place in the file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import fredbench
from fredbench.corruptions.jobs import Bench, Job, Setup
from fredbench.foundation.errors import FredbenchError, restored

__all__ = ["available_processors", "run_jobs"]

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


def available_processors() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _start(setup: Setup) -> subprocess.Popen[str]:
    # The package may be a checkout that only this process's path knows of.
    root = str(Path(fredbench.__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-m", "fredbench.corruptions.worker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
        env={**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    if process.stdin is not None:
        process.stdin.write(json.dumps(dataclasses.asdict(setup)) + "\n")
    return process


def _ask(process: subprocess.Popen[str], job: Job) -> FredbenchError | None:
    """Have one job done; what went wrong, if anything."""
    answer = ""
    if process.stdin is not None and process.stdout is not None:
        with contextlib.suppress(BrokenPipeError, ValueError):
            process.stdin.write(json.dumps(job.as_dict()) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
    if not answer:
        return FredbenchError(
            f"a worker ended unexpectedly (exit status {process.wait()}) at {job.name}, severity {job.severity}",
            hint="its own message stands above, if it left one; --workers 1 works without processes",
        )
    reply = json.loads(answer)
    if "error" in reply:
        return restored(reply)
    return None


def _drive(
    process: subprocess.Popen[str], jobs: queue.SimpleQueue[Job], results: queue.SimpleQueue[Job | FredbenchError]
) -> None:
    while True:
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            return
        problem = _ask(process, job)
        results.put(problem or job)
        if problem:
            return


def _run_in_processes(setup: Setup, jobs: Sequence[Job], workers: int) -> Iterator[Job]:
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    results: queue.SimpleQueue[Job | FredbenchError] = queue.SimpleQueue()
    processes = [_start(setup) for _ in range(workers)]
    threads = [threading.Thread(target=_drive, args=(p, waiting, results), daemon=True) for p in processes]
    try:
        for thread in threads:
            thread.start()
        for _ in jobs:
            result = results.get()
            if isinstance(result, FredbenchError):
                raise result
            yield result
    finally:
        for process in processes:
            # Idle workers end by themselves with their input; one in the middle of a failed run must not go on.
            process.kill()
            process.wait()
        for thread in threads:
            thread.join()
        for process in processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()


def run_jobs(setup: Setup, jobs: Sequence[Job], workers: int) -> Iterator[Job]:
    """Do the jobs and yield each when it is done, in order of completion.

    With one worker they are done here, with more in as many processes. Errors of a job are raised here.
    """
    if workers <= 1 or len(jobs) <= 1:
        bench = Bench(setup)
        for job in jobs:
            bench.do(job)
            yield job
        return
    yield from _run_in_processes(setup, jobs, min(workers, len(jobs)))
