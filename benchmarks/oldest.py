"""The corruptions under the oldest libraries that the project allows, against the stored hashes.

    python benchmarks/oldest.py                # makes an environment in a temporary folder, compares, removes it
    python benchmarks/oldest.py --keep DIR     # ... in DIR, used again when it is there

Not part of the tests, since it fetches packages (some 150 MB; `uv` is used where it is installed, else venv and pip).
The versions are the floors of pyproject.toml for what the engine imports; torch is not needed. Exits with 1, naming
every corruption, size and severity of which a byte differs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
HASHES = ROOT / "tests" / "corruption_hashes.py"

# What the engine, its textures and its manifest import.
USED = (
    "filelock", "imagecorruptions-imaug", "jaxtyping", "numba", "numpy", "opencv-python", "pillow", "platformdirs",
    "scipy", "tqdm",
)  # fmt: skip
# The first release of a series whose floor names no single one.
FIRST = {"opencv-python": "4.7.0.68"}


def oldest() -> list[str]:
    """The engine's requirements at their floors, as pip takes them."""
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    floors = dict(line.split(">=") for line in lines)
    return [f"{name}=={FIRST.get(name, floors[name])}" for name in USED]


def make(folder: Path) -> Path:
    """The environment's interpreter."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv")
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        new = [uv, "venv", "--python", version] if uv else [sys.executable, "-m", "venv"]
        subprocess.run([*new, str(folder)], check=True)
        install = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
        subprocess.run([*install, *oldest()], check=True)
    return python


def hashes_under(python: Path) -> dict[str, list[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as cache:
        # Compiled code of its own: the checkout's cache belongs to other versions.
        environment["NUMBA_CACHE_DIR"] = cache
        done = subprocess.run([python, HASHES], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder of the environment, kept")
    chosen = parser.parse_args()
    from corruption_hashes import STORED, moved

    with tempfile.TemporaryDirectory() as temporary:
        found = hashes_under(make((chosen.keep or Path(temporary) / "oldest").absolute()))
    wrong = moved(found, json.loads(STORED.read_text()))
    print("\n".join(wrong) or f"{len(found)} rows of five hashes are as stored under {', '.join(oldest())}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
