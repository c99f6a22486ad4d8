"""The allocator's setting: large blocks are reused instead of being cleared anew by the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, threading
from fredbench.foundation.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory() and keep_freed_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work(times, size):
    # Blocks that together are more than one heap of a thread, all given back each time.
    for _ in range(times):
        held = [bytearray(b"x" * size) for _ in range(2**27 // size)]
        del held
def measure(size):
    work(3, size)
    before = faults()
    work(10, size)
    sys.stdout.write(str(faults() - before))
if sys.argv[2] == "main":
    measure(2**26)
else:
    thread = threading.Thread(target=measure, args=(2**24,))
    thread.start()
    thread.join()
"""


def page_faults(mode: str, where: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode, where], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is glibc's")
@pytest.mark.parametrize("where", ["main", "thread"])
def test_large_blocks_stay_mapped(where: str) -> None:
    # Ten times 128 MiB are 327,680 pages of 4 KiB when each is mapped anew.
    assert page_faults("keep", where) < 0.1 * page_faults("default", where)
