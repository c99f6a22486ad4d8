#!/usr/bin/env bash
# One would guess: 8x8 digits of 0..16 as PGM with maxval 16 read alike in Pillow and OpenCV, as text (P2) or as bytes (P5).
# What happens: Pillow stretches both to 0..255; OpenCV stretches P2 (one level lower where it truncates) but hands out P5 raw, 0..16: nearly black.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" pillow==13.0.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$tmp"
"$tmp/env/bin/python" - <<'PY'
from pathlib import Path

import cv2
import numpy as np
import PIL
from PIL import Image

print("pillow", PIL.__version__, "opencv", cv2.__version__)
digit = np.random.default_rng(0).permutation(np.arange(64) % 17).astype(np.uint8).reshape(8, 8)
Path("p5.pgm").write_bytes(b"P5\n8 8\n16\n" + digit.tobytes())
Path("p2.pgm").write_text("P2\n8 8\n16\n" + " ".join(map(str, digit.ravel())) + "\n")
values = np.arange(17)
read = {
    (library, kind): np.array([picture[digit == v][0] for v in values])
    for kind in ("p2", "p5")
    for library, picture in (
        ("Pillow", np.asarray(Image.open(f"{kind}.pgm"))),
        ("OpenCV", cv2.imread(f"{kind}.pgm", cv2.IMREAD_UNCHANGED)),
    )
}
print("  in the file  ", *(f"{v:3d}" for v in values))
for (library, kind), levels in read.items():
    print(f"  {library} {kind}    ", *(f"{v:3d}" for v in levels))
stretched = np.round(values * 255 / 16)
assert np.array_equal(read["Pillow", "p2"], read["Pillow", "p5"])
assert np.array_equal(read["Pillow", "p5"], stretched)
assert np.array_equal(read["OpenCV", "p5"], values)
assert np.array_equal(read["OpenCV", "p2"], values * 255 // 16)
PY
