"""Corruption speed side by side with the `imagecorruptions` package, in one run on one machine.

    python benchmarks/corruptions.py                  # CPU time a picture at severity 3, 32 and 224 pixels
    python benchmarks/corruptions.py --suite          # also writes 15 x 5 x 10,000 pictures: time and peak memory
    python benchmarks/corruptions.py --suite --cold   # ... with an empty cache of compiled code

The two engines take turns, picture by picture or batch by batch, and the smallest of several rounds counts: what
else runs on the machine disturbs both alike. Ours runs the profile of the size (cifar at 32 pixels, imagenet at
224), the package its only table; --profile imagenet gives both the same constants at 32 pixels too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - thread counts must be set before

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fredbench.corruptions import EXTRAS, NAMES, corrupt  # noqa: E402

SEVERITY = 3


def photographs(size: int, count: int) -> np.ndarray:
    """Crops of scikit-learn's two sample photographs, reduced so that they show something at this size."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    generator = np.random.default_rng(0)
    crops = []
    for index in range(count):
        photograph = load_sample_images().images[index % 2]
        side = int(generator.integers(max(size, 200), 427))
        y, x = generator.integers(0, 427 - side + 1), generator.integers(0, 640 - side + 1)
        crop = Image.fromarray(photograph[y : y + side, x : x + side]).resize((size, size), Image.Resampling.BICUBIC)
        crops.append(np.asarray(crop))
    return np.stack(crops)


def cpu_time(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def compare(name: str, pictures: np.ndarray, profile: str, theirs: int, rounds: int) -> tuple[float, float]:
    """CPU milliseconds a picture: ours over the whole batch, the package's over its first `theirs` pictures."""
    import imagecorruptions

    def package() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            for picture in pictures[:theirs]:
                imagecorruptions.corrupt(picture, SEVERITY, name)

    def engine() -> None:
        corrupt(pictures, name, SEVERITY, profile=profile)

    engine(), imagecorruptions.corrupt(pictures[0], SEVERITY, name)  # compile, fill caches
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        best[0] = min(best[0], cpu_time(engine) / len(pictures))
        best[1] = min(best[1], cpu_time(package) / theirs)
    return best[0] * 1e3, best[1] * 1e3


def table(size: int, count: int, theirs: int, rounds: int, profile: str) -> None:
    pictures = photographs(size, count)
    print(f"\n{size} pixels, profile {profile}, severity {SEVERITY}: CPU ms a picture")
    print(f"{'corruption':20s} {'fredbench':>10s} {'package':>10s} {'ratio':>8s}")
    sums = np.zeros(2)
    for name in NAMES + EXTRAS:
        ours, package = compare(name, pictures, profile, theirs, rounds)
        if name in NAMES:
            sums += ours, package
        print(f"{name:20s} {ours:10.4f} {package:10.4f} {package / ours:8.1f}", flush=True)
    print(f"{'sum of the 15':20s} {sums[0]:10.4f} {sums[1]:10.4f} {sums[1] / sums[0]:8.1f}")


def tree_memory(root: int) -> int:
    """Bytes of the process tree below and with `root`, shared pages counted once (proportional set size)."""
    total, waiting = 0, [root]
    while waiting:
        process = waiting.pop()
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
            for task in Path(f"/proc/{process}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
    return total


WRITE = """
import sys
from pathlib import Path
import numpy as np
from fredbench.corruptions import write_set
pictures = np.load(sys.argv[1])
write_set(pictures, np.arange(len(pictures)) % 10, Path(sys.argv[2]), workers=int(sys.argv[3]))
"""


def suite(count: int, workers: int, cold: bool) -> None:
    """The whole suite as a command: wall time from start to end, and the peak of the process tree's memory."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        place = Path(folder)
        np.save(place / "pictures.npy", np.tile(photographs(32, 100), (-(-count // 100), 1, 1, 1))[:count])
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
        if cold:
            environment["NUMBA_CACHE_DIR"] = str(place / "compiled")
        arguments = [str(place / "pictures.npy"), str(place / "set"), str(workers)]
        before, start = os.times(), time.perf_counter()
        process = subprocess.Popen([sys.executable, "-c", WRITE, *arguments], env=environment)
        peaks = [0]

        def watch() -> None:
            while process.poll() is None:
                peaks.append(tree_memory(process.pid))
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        process.wait()
        watcher.join()
        wall, after = time.perf_counter() - start, os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        if process.returncode:
            raise SystemExit(f"writing the suite failed with status {process.returncode}")
        size = sum(path.stat().st_size for path in (place / "set").glob("*.npy"))
    print(
        f"\nwhole suite, 15 x 5 x {count} pictures of 32 pixels, {workers} workers, "
        f"{'empty' if cold else 'warm'} cache: {wall:.1f} s wall, {used:.1f} s CPU, {size / 1e9:.2f} GB written, "
        f"peak memory {max(peaks) / 1e6:.0f} MB"
    )
    print(f"machine: {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} (above 2 disturbs the wall time)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", choices=("cifar", "imagenet"), default="cifar", help="for the 32-pixel table")
    parser.add_argument("--suite", action="store_true")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--pictures", type=int, default=10_000, help="of the suite")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-table", action="store_true")
    arguments = parser.parse_args()
    if not arguments.no_table:
        table(32, 512, 20, arguments.rounds, arguments.profile)
        table(224, 16, 2, arguments.rounds, "imagenet")
    if arguments.suite:
        suite(arguments.pictures, arguments.workers, arguments.cold)


if __name__ == "__main__":
    main()
