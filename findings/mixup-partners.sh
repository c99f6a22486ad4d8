#!/usr/bin/env bash
# One would guess: MixUp and CutMix mix each picture of a batch with a random other one.
# What happens: torchvision takes the picture before it, timm the batch reversed; a batch in class order is mixed within its own class (90 % at IPC 10).
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 torchvision==0.29.2 timm==1.0.31 numpy==2.4.6
OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 "$tmp/env/bin/python" -W ignore - <<'PY'
import numpy as np
import timm
import torch
import torchvision
from timm.data import Mixup
from torchvision.transforms import v2

print("torch", torch.__version__, "torchvision", torchvision.__version__, "timm", timm.__version__)
N = 100  # ten pictures a class, class after class, as distilled sets lie in their files
classes = torch.arange(N) // 10
pictures = torch.rand(N, 3, 8, 8, generator=torch.Generator().manual_seed(0))
places = torch.arange(N)


def partners(mix, seed):
    """Whom each picture is mixed with: labels are places, so the soft label names the partner."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    soft = mix(pictures.clone(), places)[1].clone()
    soft[places, places] = 0
    return tuple(soft.argmax(1).tolist()) if bool((soft.sum(1) > 0).all()) else None


found = {}
for name, mix in {
    "torchvision MixUp": v2.MixUp(num_classes=N),
    "torchvision CutMix": v2.CutMix(num_classes=N),
    "timm Mixup": Mixup(mixup_alpha=1.0, label_smoothing=0.0, num_classes=N),
    "timm CutMix": Mixup(mixup_alpha=0.0, cutmix_alpha=1.0, label_smoothing=0.0, num_classes=N),
}.items():
    found[name] = {partners(mix, seed) for seed in range(30)} - {None}  # None: a box without area
    one = torch.tensor(next(iter(found[name])))
    within = float((classes[one] == classes).float().mean())
    print(f"  {name}: {len(found[name])} pairing in 30 seeds, starts {one[:4].tolist()}, within the class {within:.0%}")
before = {tuple(torch.roll(places, 1).tolist())}
reversed_ = {tuple(reversed(range(N)))}
assert found["torchvision MixUp"] == found["torchvision CutMix"] == before
assert found["timm Mixup"] == found["timm CutMix"] == reversed_
PY
