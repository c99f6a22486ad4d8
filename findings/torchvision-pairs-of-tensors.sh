#!/usr/bin/env bash
# One would guess: a v2 transform called with two tensors, real and distilled pictures, gives both the same draw (siamese augmentation).
# What happens: only the first plain tensor is augmented; the second passes through. As tv_tensors.Image both are, but GaussianNoise draws twice.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 torchvision==0.29.2 pillow==13.0.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$tmp/env/bin/python" -W error - <<'PY'
import torch
import torchvision
from torchvision import tv_tensors
from torchvision.transforms import v2

print("torch", torch.__version__, "torchvision", torchvision.__version__)
batch = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
transforms = {
    "RandomHorizontalFlip": v2.RandomHorizontalFlip(1.0),
    "ColorJitter": v2.ColorJitter((0.5, 0.8), (1.2, 1.5)),
    "RandomAffine": v2.RandomAffine((10, 30)),
    "RandomErasing": v2.RandomErasing(1.0),
    "ElasticTransform": v2.ElasticTransform(),
    "GaussianNoise": v2.GaussianNoise(),
}
plain, images = {}, {}
for name, transform in transforms.items():
    torch.manual_seed(0)
    real, distilled = transform(batch.clone(), batch.clone())
    plain[name] = not torch.equal(real, batch), not torch.equal(distilled, batch)
    one, two = transform(tv_tensors.Image(batch.clone()), tv_tensors.Image(batch.clone()))
    images[name] = not torch.equal(one, batch) and torch.equal(one, two)
    print(f"  {name}: of two plain tensors (first, second) changed {plain[name]}; of two Images both alike: {images[name]}")
assert set(plain.values()) == {(True, False)}
assert [name for name, alike in images.items() if not alike] == ["GaussianNoise"]
PY
