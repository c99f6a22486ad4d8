#!/usr/bin/env bash
# One would guess: McNemar's test of two networks that answer alike on every picture finds no difference: p = 1, or not a number.
# What happens: the corrected test (mlxtend's default; statsmodels with exact=False) divides 1 by 0 and reports p = 0 for equal networks; NumPy alone warns.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" mlxtend==0.25.0 statsmodels==0.15.0 scipy==1.17.1 scikit-learn==1.9.1 pandas==3.1.1 numpy==2.4.6
"$tmp/env/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from mlxtend.evaluate import mcnemar, mcnemar_table
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels

print(*(f"{name} {version(name)}" for name in ("mlxtend", "statsmodels", "numpy")), sep=", ")
draws = np.random.default_rng(0)
truth = draws.integers(0, 10, 1000)
first = np.where(draws.random(1000) < 0.6, truth, (truth + 1) % 10)
found = {}
for disagreeing in (0, 1, 2, 10):
    second = first.copy()
    wrong = np.flatnonzero(first != truth)[:disagreeing]
    second[wrong] = truth[wrong]
    table = mcnemar_table(truth, first, second)
    found[disagreeing] = {
        "mlxtend": float(mcnemar(table)[1]),
        "mlxtend exact": float(mcnemar(table, exact=True)[1]),
        "statsmodels exact=False": float(mcnemar_of_statsmodels(table, exact=False).pvalue),
        "statsmodels": float(mcnemar_of_statsmodels(table).pvalue),
    }
    print(f"  second network right on {disagreeing} more of 1,000:", {name: round(p, 3) for name, p in found[disagreeing].items()})
assert found[0] == {"mlxtend": 0.0, "mlxtend exact": 1.0, "statsmodels exact=False": 0.0, "statsmodels": 1.0}
assert found[1]["mlxtend"] == found[1]["mlxtend exact"] == 1.0
assert 0 < found[10]["mlxtend exact"] < found[10]["mlxtend"] < 0.01
PY
