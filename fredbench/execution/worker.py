"""What another process runs: the tasks of a grid that it is asked for, by name.

`python -m fredbench.execution.worker` reads a request and then names of tasks, a JSON line each, and answers each with
a report. It ends when its input does, in the middle of a task too: nothing outlives a driver that was killed.
"""

from __future__ import annotations

import functools
import json
import os
import queue
import signal
import sys
import threading
from typing import Any, TextIO

from fredbench.execution.making import Maker, Report
from fredbench.execution.plan import plan_of
from fredbench.execution.request import GridRequest
from fredbench.foundation.device import check_threads
from fredbench.foundation.errors import FredbenchError, UsageError

__all__ = ["Workshop", "main", "workshop"]


class Workshop:
    """A grid that was asked for elsewhere, opened here."""

    def __init__(self, request: GridRequest) -> None:
        grid_run = request.opened_elsewhere()
        # Whatever set the number of threads of this process, what is made says that of the request.
        check_threads(grid_run.threads)
        self.maker = Maker(grid_run, plan_of(grid_run))

    def make(self, name: str) -> Report:
        """Make a task by its name; an error of ours comes back in the report."""
        task = self.maker.plan.tasks.get(name)
        if task is None:
            problem = UsageError(
                f"this process plans no task {name}: it reads another suite, other data or another version",
                hint="give all machines the same checkout, suite file and data",
            )
            return Report(name, "failed", problem)
        return self.maker.make(task)


@functools.lru_cache(maxsize=1)
def workshop(request: str) -> Workshop:
    """The grid of a request as JSON, opened once in a process."""
    return Workshop(GridRequest.from_mapping(json.loads(request)))


def _orders() -> queue.SimpleQueue[str]:
    """Lines of stdin as they come; when it ends, so does this process, whatever it is at."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    return lines


def serve(orders: queue.SimpleQueue[str], answers: TextIO) -> None:
    """Open what the first line asks for, then make what the others name, for ever."""

    def answer(report: dict[str, Any]) -> None:
        answers.write(json.dumps(report) + "\n")
        answers.flush()

    request = orders.get()
    while True:
        name = json.loads(orders.get())
        try:
            answer(workshop(request).make(name).to_mapping())
        except FredbenchError as problem:
            answer(Report(name, "failed", problem).to_mapping())


def main() -> None:
    """Serve on this process's own stdin and stdout."""
    # The driver decides what an interrupt means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not mix with the answers.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        try:
            serve(_orders(), answers)
        except BrokenPipeError:
            os._exit(1)


if __name__ == "__main__":
    main()
