#!/usr/bin/env bash
# One would guess: A.ISONoise of one intensity puts about as much noise on a grey picture as on a colourful one.
# What happens: its noise is a draw around the spread of the picture's own lightness: none at all on flat pictures, whatever the intensity.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" albumentations==2.0.8 opencv-python-headless==5.0.0.93 numpy==2.4.6
NO_ALBUMENTATIONS_UPDATE=1 "$tmp/env/bin/python" -W ignore - <<'PY'
import albumentations
import numpy as np

print("albumentations", albumentations.__version__, "numpy", np.__version__)
noise = albumentations.ISONoise(intensity=(0.5, 0.5), color_shift=(0.05, 0.05), p=1)
spread = []
for contrast in (0, 8, 32, 64):
    picture = np.full((64, 64, 3), 128, np.uint8)
    picture[:32] -= np.uint8(contrast)
    picture[32:] += np.uint8(contrast)
    off = noise(image=picture)["image"].astype(int) - picture
    spread.append(float(off.std()))
    print(f"  halves at 128 -+ {contrast}: noise {spread[-1]:.2f} grey levels")
assert spread[0] == 0 and spread[0] < spread[1] < spread[2] < spread[3]
PY
