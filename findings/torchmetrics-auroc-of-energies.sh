#!/usr/bin/env bash
# One would guess: torchmetrics' binary AUROC is a matter of ranks, so energies of 20 to 35 give what scikit-learn gives.
# What happens: scores outside 0..1 go through a float32 sigmoid first: energies above 17 all become 1, and an AUROC of 0.96 is reported as 0.5.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" torch==2.15.0 torchmetrics==1.9.0 scikit-learn==1.9.1 numpy==2.4.6
OMP_NUM_THREADS=1 "$tmp/env/bin/python" -W error::UserWarning - <<'PY'
import numpy as np
import sklearn
import torch
import torchmetrics
from sklearn.metrics import roc_auc_score
from torchmetrics.classification import BinaryAUROC

print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__, "scikit-learn", sklearn.__version__)
draws = np.random.default_rng(0)
energy = np.r_[draws.normal(25, 2, 500), draws.normal(30, 2, 500)].astype(np.float32)
known = np.repeat([0, 1], 500)
truth = roc_auc_score(known, energy)


def measured(scores):
    return float(BinaryAUROC()(torch.from_numpy(scores), torch.from_numpy(known)))


scaled, raw = measured(energy / 100), measured(energy)
negated = measured(-energy)  # the same ranks the other way round: should be 1 - truth
print(f"  scikit-learn {truth:.4f}; torchmetrics: energies {raw:.4f}, energies / 100 {scaled:.4f}, -energies {negated:.4f}")
assert 0.95 < truth < 0.98 and abs(scaled - truth) < 1e-4
assert raw == 0.5
assert abs(negated - (1 - truth)) < 1e-3
PY
