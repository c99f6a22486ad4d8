#!/usr/bin/env bash
# One would guess: one comparison without a p-value (a t-test of equal accuracies is NaN) stays NaN in multipletests; the rest are corrected as if alone.
# What happens: Hommel's, Hochberg's and the FDR corrections turn every p-value to NaN, Hommel's rejects nothing any more, Holm's counts it as a test.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" statsmodels==0.15.0 scipy==1.17.1 pingouin==0.7.0 pandas==3.1.1 numpy==2.4.6
"$tmp/env/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
import pingouin
from scipy.stats import ttest_rel
from statsmodels.stats.multitest import multipletests

print(*(f"{name} {version(name)}" for name in ("statsmodels", "scipy", "pingouin", "numpy")), sep=", ")
control = np.array([0.512, 0.497, 0.505, 0.520, 0.501])
gains = {
    "A": np.array([0.010, 0.011, 0.012, 0.009, 0.011]),
    "B": np.array([0.02, 0.01, 0.03, 0.04, 0.02]),
    "C": np.array([0.02, -0.01, 0.03, 0.01, -0.02]),
    "same": np.zeros(5),
}
p = np.array([ttest_rel(control + gain, control).pvalue for gain in gains.values()])
print("  paired t-tests:", dict(zip(gains, p.round(4).tolist(), strict=True)))
assert np.isnan(p[3]) and np.isfinite(p[:3]).all()

with_it, without = {}, {}
for method in ("bonferroni", "holm", "simes-hochberg", "hommel", "fdr_bh", "fdr_by"):
    with_it[method] = multipletests(p, method=method)[:2]
    without[method] = multipletests(p[:3], method=method)[:2]
    print(
        f"  {method}: three tests {without[method][1].round(4).tolist()}, rejected {without[method][0].tolist()};"
        f" with the NaN {with_it[method][1].round(4).tolist()}, rejected {with_it[method][0].tolist()}"
    )
kept = {method: np.allclose(pair[1][:3], without[method][1]) for method, pair in with_it.items()}
lost = [method for method, pair in with_it.items() if np.isnan(pair[1]).all()]
other = pingouin.multicomp(p, method="fdr_bh")[1]
print("  all corrected p-values lost:", lost, "; pingouin's fdr_bh:", other.round(4).tolist())
assert not any(kept.values())
assert lost == ["simes-hochberg", "hommel", "fdr_bh", "fdr_by"]
assert without["hommel"][0].any() and not with_it["hommel"][0].any()
assert np.all(with_it["holm"][1][:2] > without["holm"][1][:2])
assert np.allclose(other[:3], without["fdr_bh"][1])
PY
