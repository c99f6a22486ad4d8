#!/usr/bin/env bash
# One would guess: adjust_brightness, adjust_contrast and adjust_hue with the same factor do the same in kornia and torchvision.
# What happens: kornia adds where torchvision multiplies, pulls to black instead of the mean, counts hue in radians; its ColorJitter agrees again.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 torchvision==0.29.2 kornia==0.9.0 kornia-rs==0.2.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$tmp/env/bin/python" -W ignore - <<'PY'
from math import pi

import kornia
import torch
import torchvision
from kornia import enhance
from kornia.augmentation import ColorJitter, RandomBrightness
from torchvision.transforms.v2 import functional as tv

print("torch", torch.__version__, "torchvision", torchvision.__version__, "kornia", kornia.__version__)
x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def apart(one, other):
    return float((one - other).abs().mean()) * 255


halved = tv.adjust_brightness(x, 0.5)
mean = tv.rgb_to_grayscale(x).mean()
differ = {
    "adjust_brightness(x, 0.5)": apart(enhance.adjust_brightness(x, 0.5), halved),
    "adjust_contrast(x, 0.5)": apart(enhance.adjust_contrast(x, 0.5), tv.adjust_contrast(x, 0.5)),
    "adjust_hue(x, 0.25)": apart(enhance.adjust_hue(x, 0.25), tv.adjust_hue(x, 0.25)),
    "RandomBrightness(0.5) and torchvision's": apart(RandomBrightness((0.5, 0.5), p=1.0)(x), halved),
}
agree = {
    "kornia brightness is x + 0.5": apart(enhance.adjust_brightness(x, 0.5), (x + 0.5).clamp(0, 1)),
    "RandomBrightness(0.5) is x - 0.5": apart(RandomBrightness((0.5, 0.5), p=1.0)(x), (x - 0.5).clamp(0, 1)),
    "kornia contrast is 0.5 x": apart(enhance.adjust_contrast(x, 0.5), 0.5 * x),
    "torchvision contrast is halfway to the mean": apart(tv.adjust_contrast(x, 0.5), 0.5 * x + 0.5 * mean),
    "hue 0.25 * 2 pi in kornia is 0.25": apart(enhance.adjust_hue(x, 0.25 * 2 * pi), tv.adjust_hue(x, 0.25)),
    "ColorJitter(brightness=0.5) is 0.5 x": apart(ColorJitter(brightness=(0.5, 0.5), p=1.0)(x), halved),
    "adjust_sharpness": apart(enhance.sharpness(x, 2.0), tv.adjust_sharpness(x, 2.0)),
}
for name, value in (differ | agree).items():
    print(f"  {name}: mean difference {value:.2f} grey levels")
assert min(differ.values()) > 20
assert max(agree.values()) < 0.5
PY
