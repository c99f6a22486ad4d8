"""A worker process: reads a setup and then jobs, one JSON line each, from stdin; answers each on stdout.

Run as `python -m fredbench.corruptions.worker` by `workers`. A process of its own, rather than one of
`multiprocessing`'s, because those run the user's main script again and with it whatever that imports. It ends when
its stdin does, so that nothing outlives a killed parent for longer than one job.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, TextIO

__all__ = ["main", "serve"]


def _answer(line: str, bench: Any) -> dict[str, Any]:
    from fredbench.corruptions.jobs import Job
    from fredbench.foundation.errors import FredbenchError, described

    try:
        return {"done": bench.do(Job(**json.loads(line)))}
    except FredbenchError as error:
        return described(error)


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer the jobs of `requests` until it ends."""
    from fredbench.corruptions.jobs import Bench, Setup

    first = requests.readline()
    if not first:
        return
    bench = Bench(Setup(**json.loads(first)))
    for line in requests:
        answers.write(json.dumps(_answer(line, bench)) + "\n")
        answers.flush()


def main() -> None:
    """Serve on this process's own stdin and stdout."""
    # The parent decides what an interrupt means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not mix with the answers.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        try:
            serve(sys.stdin, answers)
        except BrokenPipeError:
            # The parent is gone; nobody is left to tell.
            os._exit(1)


if __name__ == "__main__":
    main()
