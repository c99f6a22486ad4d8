#!/usr/bin/env bash
# One would guess: timm's test-time transform to 32 pixels leaves a picture of 32 pixels as it is.
# What happens: it enlarges to 36 pixels and crops the middle 32: the outer two pixels are cut off and the rest is blurred, at training resolution too.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 torchvision==0.29.2 timm==1.0.31 pillow==13.0.0 numpy==2.4.6
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$tmp/env/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from PIL import Image
from timm.data import create_transform

print(*(f"{name} {version(name)}" for name in ("timm", "torchvision", "pillow")), sep=", ")
small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
picture = np.asarray(Image.fromarray(small).resize((32, 32), Image.Resampling.BICUBIC))
framed = np.zeros((32, 32, 3), np.uint8)
framed[:1], framed[-1:], framed[:, :1], framed[:, -1:] = 255, 255, 255, 255  # a white border of one pixel


def seen(array, **options):
    transform = create_transform(32, is_training=False, mean=(0, 0, 0), std=(1, 1, 1), **options)
    return (transform(Image.fromarray(array)) * 255).permute(1, 2, 0).numpy()


change, border = {}, {}
for name, options in {"default": {}, "crop_pct=1": {"crop_pct": 1.0}}.items():
    change[name] = float(np.abs(seen(picture, **options) - picture).mean())
    border[name] = float(seen(framed, **options)[[0, -1]].mean())
    print(f"  {name}: a smooth picture changes by {change[name]:.1f} grey levels on average; a white border is {border[name]:.0f} bright")
assert change["crop_pct=1"] < 1e-3 and border["crop_pct=1"] > 254
assert change["default"] > 3 and border["default"] < 100
PY
