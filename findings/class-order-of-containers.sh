#!/usr/bin/env bash
# One would guess: a file with one array per class, class_0 to class_11, gives them back in the order in which they were saved.
# What happens: npz does; safetensors and HDF5 put class_10 before class_2, safetensors' load(bytes) shuffles, JAX reorders Flax's.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" numpy==2.4.6 safetensors==0.8.0 h5py==3.16.0 flax==0.12.8 jax==0.10.2 jaxlib==0.10.2
cd "$tmp"
JAX_PLATFORMS=cpu "$tmp/env/bin/python" - <<'PY'
from importlib.metadata import version

import h5py
import jax
import numpy as np
import safetensors.numpy as st
from flax import serialization

print(*(f"{name} {version(name)}" for name in ("numpy", "safetensors", "h5py", "flax", "jax")), sep=", ")
classes = {f"class_{k}": np.full((1, 4), k, np.float32) for k in range(12)}


def labels(arrays):
    """The class that stands in each place when the arrays are stacked as they come."""
    return [int(array.flat[0]) for array in arrays]


np.savez("set.npz", **classes)
npz = labels(np.load("set.npz").values())
st.save_file(classes, "set.safetensors")
file = labels(st.load_file("set.safetensors").values())
loads = [labels(st.load(st.save(classes)).values()) for _ in range(8)]
with h5py.File("set.h5", "w") as out:
    for name, array in classes.items():
        out[name] = array
with h5py.File("set.h5") as back:
    hdf = labels(array[()] for array in back.values())
restored = serialization.msgpack_restore(serialization.to_bytes(list(classes.values())))
leaves = labels(jax.tree.leaves(restored))

print("npz                    ", npz)
print("safetensors load_file  ", file)
print("safetensors load(bytes)", *loads[:3], sep="\n   ")
print("h5py                   ", hdf)
print("flax list comes back as", type(restored).__name__, "and jax.tree.leaves gives", leaves)
by_text = [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
assert npz == list(range(12))
assert file == hdf == leaves == by_text
assert len({tuple(order) for order in loads}) > 1, "eight loads of one set came in one order"
assert isinstance(restored, dict)
PY
