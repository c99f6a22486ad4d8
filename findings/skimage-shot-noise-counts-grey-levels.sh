#!/usr/bin/env bash
# One would guess: random_noise(mode='poisson') draws shot noise whose strength depends on how bright a pixel is.
# What happens: it depends on how many different values the picture holds: one foreign pixel row cuts the noise of all the rest to a fraction.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" scikit-image==0.26.0 numpy==2.4.6
"$tmp/env/bin/python" - <<'PY'
import numpy as np
import skimage
from skimage.util import random_noise

print("scikit-image", skimage.__version__, "numpy", np.__version__)
noise = {}
for levels in (1, 2, 16, 64, 256):
    picture = np.full((257, 256), 128 / 255)
    picture[0, :levels] = np.arange(levels) / 255  # only this row differs
    if levels == 1:
        picture[0] = 128 / 255
    noisy = random_noise(picture, mode="poisson", rng=0, clip=False)
    held = len(np.unique(picture))
    noise[held] = 255 * float((noisy - picture)[1:].std())
    print(f"  {held:3d} different values: noise {noise[held]:6.1f} grey levels on the same grey of 128")
flat, *_, most = noise.values()
photons = 255 * (128 / 255) ** 0.5  # Poisson noise where white is one photon
print(f"  one photon for white would give {photons:.1f}, 256 photons {photons / 16:.1f}")
assert abs(flat / photons - 1) < 0.02
assert abs(most / (photons / 16) - 1) < 0.02
assert flat > 15 * most
PY
