#!/usr/bin/env bash
# One would guess: PCA(whiten=True) gives no component of the training pictures a spread above 1, and constant border pixels give nothing.
# What happens: the solver that 'auto' picks blows the constant pixels' rounding noise up to spreads of dozens; 1-NN on framed digits falls from 94 % to a half.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$tmp/env/bin/python" -W error - <<'PY'
import numpy as np
import scipy
import sklearn
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

print("scikit-learn", sklearn.__version__, "scipy", scipy.__version__, "numpy", np.__version__)
digits = load_digits()
framed = np.full((len(digits.images), 12, 12), 0.1)  # a border of two pixels, as MNIST has one of four
framed[:, 2:10, 2:10] += 0.9 * digits.images / 16
pictures, labels = framed.reshape(len(framed), -1), digits.target


def accuracy(train, test):
    return float(KNeighborsClassifier(1).fit(train, labels[:1500]).score(test, labels[1500:]))


found, widest = {"not whitened": accuracy(pictures[:1500], pictures[1500:])}, {}
for name, options in {
    "auto": {},
    "full": {"svd_solver": "full"},
    "auto, 0.999 of the variance": {"n_components": 0.999},
}.items():
    whiten = PCA(whiten=True, **options).fit(pictures[:1500])
    train, test = whiten.transform(pictures[:1500]), whiten.transform(pictures[1500:])
    found[name], widest[name] = accuracy(train, test), float(train.std(axis=0).max())
    print(f"  {name} ({whiten._fit_svd_solver}): {train.shape[1]} components, largest spread {widest[name]:.2f}")
print("  1-NN accuracy:", {name: f"{share:.1%}" for name, share in found.items()})
assert widest["auto"] > 10 and widest["auto, 0.999 of the variance"] < 1.01
assert found["auto"] < found["full"] - 0.15
assert found["not whitened"] > 0.93 and found["auto, 0.999 of the variance"] > 0.85
PY
