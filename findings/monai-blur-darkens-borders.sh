#!/usr/bin/env bash
# One would guess: MONAI's GaussianSmooth leaves a flat picture flat, up to its border, as blurs of scipy, OpenCV and torchvision do.
# What happens: it pads with black: at sigma 1 the border keeps 69 % of its brightness and the corners 48 %, a vignette on top of the blur.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 monai==1.6.1 torchvision==0.29.2 scipy==1.17.1 opencv-python-headless==5.0.0.93 numpy==2.4.6
OMP_NUM_THREADS=1 "$tmp/env/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import cv2
import numpy as np
import torch
from monai.transforms import GaussianSmooth
from scipy import ndimage
from torchvision.transforms.v2 import functional as tv

print(*(f"{name} {version(name)}" for name in ("monai", "torch", "torchvision", "scipy", "opencv-python-headless")), sep=", ")
flat = torch.ones(1, 32, 32)
found = {}
for sigma in (0.5, 1.0, 2.0):
    size = 2 * round(4 * sigma) + 1
    found[sigma] = {
        "MONAI": GaussianSmooth(sigma)(flat)[0].numpy(),
        "torchvision": tv.gaussian_blur(flat, [size, size], [sigma, sigma])[0].numpy(),
        "scipy": ndimage.gaussian_filter(flat[0].numpy(), sigma),
        "OpenCV": cv2.GaussianBlur(flat[0].numpy(), (0, 0), sigma),
    }
    looks = {name: [round(float(out[place]), 2) for place in ((16, 16), (0, 16), (0, 0))] for name, out in found[sigma].items()}
    print(f"  white picture, sigma {sigma}, middle, edge and corner:", looks)
    assert all(np.abs(out - 1).max() < 1e-3 for name, out in found[sigma].items() if name != "MONAI")
monai = found[1.0]["MONAI"]
assert abs(monai[16, 16] - 1) < 1e-3 and 0.65 < monai[0, 16] < 0.75 and 0.42 < monai[0, 0] < 0.55
PY
