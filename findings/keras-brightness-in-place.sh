#!/usr/bin/env bash
# One would guess: a Keras augmentation layer gives new pictures back and leaves the ones that it was given alone.
# What happens: on the torch backend RandomBrightness (and RandomColorJitter) adds to the tensor itself: stored pictures drift with every call.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 keras==3.15.1 numpy==2.4.6
KERAS_BACKEND=torch OMP_NUM_THREADS=1 KERAS_HOME="$tmp/home" "$tmp/env/bin/python" -W ignore - <<'PY'
import keras
import torch
from keras import layers

print("keras", keras.__version__, "torch", torch.__version__)
stored = torch.rand(4, 16, 16, 3, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
span = {"value_range": (0, 1), "seed": 0}
kinds = {
    "RandomBrightness": layers.RandomBrightness(0.2, **span),
    "RandomColorJitter": layers.RandomColorJitter(brightness_factor=0.2, contrast_factor=0.2, **span),
    "RandomContrast": layers.RandomContrast(0.2, **span),
    "RandomSaturation": layers.RandomSaturation(0.2, **span),
    "RandomHue": layers.RandomHue(0.2, **span),
    "RandomSharpness": layers.RandomSharpness(0.5, **span),
    "RandomErasing": layers.RandomErasing(1.0, **span),
    "RandomFlip": layers.RandomFlip(seed=0),
    "RandomTranslation": layers.RandomTranslation(0.1, 0.1, seed=0),
}
changed = {}
for name, layer in kinds.items():
    given = stored.clone()
    for _ in range(20):
        layer(given, training=True)
    changed[name] = float((given - stored).abs().mean())
    print(f"  {name}: after 20 calls the pictures given differ from themselves by {255 * changed[name]:.1f} grey levels on average")
array = stored.numpy().copy()
kinds["RandomBrightness"](array, training=True)
print("  a NumPy array given to RandomBrightness stays:", bool((array == stored.numpy()).all()))
assert {name for name, change in changed.items() if change > 0.01} == {"RandomBrightness", "RandomColorJitter"}
assert sum(change == 0 for change in changed.values()) == len(kinds) - 2
assert (array == stored.numpy()).all()
PY
