#!/usr/bin/env bash
# One would guess: a picture of one colour is still of one colour after cv2.cvtColor(HSV2RGB).
# What happens: for most colours the columns at the right end get another value than the rest: vector code truncates, the remainder rounds.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" opencv-python-headless==5.0.0.93 numpy==2.4.6
"$tmp/env/bin/python" - <<'PY'
import cv2
import numpy as np

cv2.setNumThreads(1)
print("opencv", cv2.__version__)
draws = np.random.default_rng(0)
colours = np.stack([draws.integers(0, top, 1000) for top in (180, 256, 256)], axis=1).astype(np.uint8)
uneven = {}
for width in (32, 37, 64, 75, 96, 224, 227):
    count, where = 0, set()
    for colour in colours:
        rgb = cv2.cvtColor(np.broadcast_to(colour, (2, width, 3)).copy(), cv2.COLOR_HSV2RGB).astype(int)
        odd = np.abs(rgb - rgb[:, :1]).max(axis=(0, 2))
        assert odd.max() <= 1
        count += bool(odd.any())
        where |= set(np.flatnonzero(odd).tolist())
    uneven[width] = count / len(colours)
    span = f", columns {min(where)} to {max(where)}" if where else ""
    print(f"  width {width}: {uneven[width]:.0%} of 1,000 colours do not stay flat{span}")
assert uneven[75] > 0.4 and uneven[227] > 0.4  # neither is a whole number of vectors
PY
