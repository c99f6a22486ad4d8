"""Local worker processes: each makes one task at a time, on its own share of the processors, or its own device."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import torch

import fredbench
from fredbench.execution.making import Report
from fredbench.execution.plan import Task
from fredbench.execution.request import GridRequest
from fredbench.foundation.progress import say

__all__ = ["Processes", "thread_variables"]


def thread_variables(threads: int) -> dict[str, str]:
    """Variables that a process must find when it loads torch, so that it computes with `threads` and waits quietly."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    # Idle threads that spin take the processors from the other workers: six times as long was measured on two cores.
    return {**dict.fromkeys(names, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}


# A process that a killed worker had started may hold its output open for a moment.
_JOIN_SECONDS = 5.0


class _Worker:
    """One process, with threads that read what it says."""

    def __init__(self, number: int, request: GridRequest, device: str, answers: queue.SimpleQueue[Report]) -> None:
        self.number, self.task = number, ""
        # The package may be a checkout that only this process's path knows of.
        root = str(Path(fredbench.__file__).resolve().parent.parent)
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        shown = {"CUDA_VISIBLE_DEVICES": device} if device else {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fredbench.execution.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
            env={**os.environ, **thread_variables(request.threads or 1), **shown, "PYTHONPATH": paths},
        )  # fmt: skip
        self._answers = answers
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._forward)]
        for reader in self._readers:
            reader.start()
        self._write(json.dumps(request.to_mapping()))

    def begin(self, task: Task) -> None:
        """Have it make a task."""
        self.task = task.name
        self._write(json.dumps(task.name))

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its end is told by the reader
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            # A line that is no answer was cut by the worker's end, or that of the disk: it is ended, and replaced.
            with contextlib.suppress(ValueError, KeyError, TypeError):
                for line in self.process.stdout:
                    self._answers.put(Report.from_mapping(json.loads(line)))
        finally:
            self._answers.put(Report("", "died", holder=str(self.number)))

    def _forward(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            say(f"[worker {self.number}] {line.rstrip()}")

    def end(self) -> None:
        """Kill it: what it was at goes on where its files end."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(_JOIN_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


class Processes:
    """An executor of `slots` local processes, begun when they are needed and replaced when they die.

    On accelerators each sees one device, in turn; all of them the one that was asked for by number.
    """

    def __init__(self, request: GridRequest, slots: int) -> None:
        self.slots, self._request = slots, request
        self._workers: dict[int, _Worker] = {}
        self._answers: queue.SimpleQueue[Report] = queue.SimpleQueue()

    def submit(self, task: Task) -> None:
        """Give it to a worker that is idle."""
        idle = next((worker for worker in self._workers.values() if not worker.task), None)
        if idle is None:
            number = next(number for number in range(1, self.slots + 1) if number not in self._workers)
            idle = self._workers[number] = _Worker(number, self._request, self._device(number), self._answers)
        idle.begin(task)

    def _device(self, number: int) -> str:
        if self._request.device != "cuda":
            return ""
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        devices = given.split(",") if given else [str(index) for index in range(torch.cuda.device_count())]
        chosen = number - 1 if self._request.card is None else self._request.card
        return devices[chosen % len(devices)]

    def wait(self, seconds: float) -> Sequence[Report]:
        """The next that ended."""
        try:
            report = self._answers.get(timeout=seconds)
        except queue.Empty:
            return []
        if report.state == "died":
            gone = self._workers.pop(int(report.holder))
            gone.end()
            return [Report(gone.task, "died")] if gone.task else []
        for worker in self._workers.values():
            if worker.task == report.task:
                worker.task = ""
        return [report]

    def close(self) -> None:
        """Kill all workers."""
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()
