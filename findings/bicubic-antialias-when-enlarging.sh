#!/usr/bin/env bash
# One would guess: antialias=True matters where pictures shrink; where they grow, torch's bicubic gives the same pixels with or without it.
# What happens: the flag changes the kernel (a = -0.5, Pillow's, instead of -0.75, OpenCV's): 32 to 64 pixels differ by up to 17 grey levels.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 pillow==13.0.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
OMP_NUM_THREADS=1 "$tmp/env/bin/python" - <<'PY'
import cv2
import numpy as np
import PIL
import torch
from PIL import Image
from torch.nn.functional import interpolate

print("torch", torch.__version__, "pillow", PIL.__version__, "opencv", cv2.__version__)
picture = np.random.default_rng(0).uniform(0, 255, (32, 32)).astype(np.float32)
tensor = torch.from_numpy(picture)[None, None]


def enlarged(mode, antialias):
    return interpolate(tensor, size=(64, 64), mode=mode, antialias=antialias)[0, 0].numpy()


def apart(one, other):
    return float(np.abs(one - other).max())


pillow = np.asarray(Image.fromarray(picture).resize((64, 64), Image.Resampling.BICUBIC))
opencv = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_CUBIC)
flag = {mode: apart(enlarged(mode, True), enlarged(mode, False)) for mode in ("bilinear", "bicubic")}
print("  32 -> 64, largest difference made by antialias:", {mode: round(value, 3) for mode, value in flag.items()})
with_flag, without = enlarged("bicubic", True), enlarged("bicubic", False)
print(f"  bicubic with antialias: {apart(with_flag, pillow):.3f} from Pillow, {apart(with_flag, opencv):.3f} from OpenCV")
print(f"  bicubic without:        {apart(without, pillow):.3f} from Pillow, {apart(without, opencv):.3f} from OpenCV")
assert flag["bilinear"] < 0.01 and flag["bicubic"] > 10
assert apart(with_flag, pillow) < 0.01 and apart(without, opencv) < 0.01
PY
