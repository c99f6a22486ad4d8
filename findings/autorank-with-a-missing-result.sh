#!/usr/bin/env bash
# One would guess: given one missing accuracy, autorank refuses, or leaves that data set out, as scikit-posthocs does.
# What happens: all its omnibus p-values become NaN, which it reads as below 0.05: its report calls four equal systems significantly different (p=nan).
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make() { if command -v uv > /dev/null; then uv venv -q "$1"; else python3 -m venv "$1"; fi; }
add() { if command -v uv > /dev/null; then uv pip install -q -p "$1/bin/python" "${@:2}"; else "$1/bin/pip" install -q "${@:2}"; fi; }
make "$tmp/env"
add "$tmp/env" autorank==1.3.0 scikit-posthocs==0.17.1 statsmodels==0.15.0 scipy==1.17.1 pandas==3.1.1 numpy==2.4.6
MPLBACKEND=agg "$tmp/env/bin/python" -W ignore - <<'PY'
import contextlib
import io
from importlib.metadata import version

import autorank
import numpy as np
import pandas as pd
import scikit_posthocs

print(*(f"{name} {version(name)}" for name in ("autorank", "scikit-posthocs", "pandas", "numpy")), sep=", ")


def judged(table):
    """What autorank makes of the table: its test, p-value and sentence of judgement."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        result = autorank.autorank(table, alpha=0.05, verbose=False)
        autorank.create_report(result)
    sentence = said.getvalue().split("Therefore, we assume that there is ")[1].split(" between")[0]
    return result.omnibus, float(result.pvalue), sentence


for seed in range(5):
    full = pd.DataFrame(np.random.default_rng(seed).normal(0.7, 0.02, (20, 4)), columns=["A", "B", "C", "D"])
    missing = full.copy()
    missing.loc[0, "A"] = np.nan
    found = {name: judged(table) for name, table in {"full": full, "one missing": missing, "without that row": full[1:]}.items()}
    print(f"  four systems of one distribution, seed {seed}:", {name: f"{test}, p={p:.3f}, {said}" for name, (test, p, said) in found.items()})
    assert found["full"][2] == found["without that row"][2] == "no statistically significant difference"
    assert np.isnan(found["one missing"][1]) and found["one missing"][2] == "a statistically significant difference"
    least = {name: np.min(scikit_posthocs.posthoc_nemenyi_friedman(table)) for name, table in (("", missing), ("row", full[1:]))}
    assert least[""] == least["row"]
PY
