"""Ranks over tables: against scipy's Friedman test, Demšar's table of critical values, and by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import ROOT, invoke
from scipy.stats import friedmanchisquare

from fredbench.evaluation.ranks import columns_of, ranked
from fredbench.foundation.errors import UsageError


def test_ranks_and_wins_by_hand() -> None:
    found = ranked({"a": {"x": 3.0, "y": 2.0, "z": 1.0}, "b": {"x": 2.0, "y": 2.0, "z": 5.0}})
    assert found.systems == ("x", "z", "y")  # ranks 1.75, 2, 2.25
    assert found.means == (1.75, 2.0, 2.25)
    assert found.wins == pytest.approx((2.5 / 4, 2 / 4, 1.5 / 4))


def test_friedman_is_scipys_with_ties_too() -> None:
    draws = np.random.default_rng(0)
    for _ in range(20):
        values = draws.integers(0, 6, (7, 4)).astype(float)
        found = ranked({str(n): dict(zip("wxyz", map(float, row), strict=True)) for n, row in enumerate(values)})
        assert found.p == pytest.approx(friedmanchisquare(*values.T).pvalue)
    level = ranked({"a": {"x": 1.0, "y": 1.0}, "b": {"x": 2.0, "y": 2.0}})
    assert level.p == 1 and level.means == (1.5, 1.5)


@pytest.mark.parametrize(("systems", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_nemenyis(systems: int, q: float) -> None:
    """q of Demšar's table 5."""
    tables = {str(n): {f"s{s}": float(s) for s in range(systems)} for n in range(14)}
    assert ranked(tables).critical == pytest.approx(q * math.sqrt(systems * (systems + 1) / (6 * 14)), rel=1e-3)


def test_cliques_are_the_longest_runs_that_are_not_told_apart() -> None:
    tables = {str(n): {"a": 5.0, "b": 4.0 - n % 2, "c": 3.0 + n % 2, "d": 1.0, "e": 0.0} for n in range(30)}
    found = ranked(tables)
    assert [found.systems[first : last + 1] for first, last in found.cliques] == [("b", "c"), ("d", "e")]
    assert all(found.means[last] - found.means[first] < (found.critical or 0) for first, last in found.cliques)
    alone = ranked({"a": {"x": 1.0, "y": 2.0}})
    assert alone.critical is None and alone.cliques == [] and alone.p is None


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(UsageError, match="ranks need two"):
        ranked({"a": {"x": 1.0, "y": 2.0}, "b": {"x": 1.0}})
    with pytest.raises(UsageError, match="suite run --out"):
        columns_of([{"format": "other"}])


def document(
    *, preset: str = "quick", limit: int | None = None, scale: str = "", suite: str = "digitsc"
) -> dict[str, Any]:
    """Two seeds of a system, and one by the published script's protocol."""
    rows = [
        {"cell": f"dm, ipc 1{seed}", "protocol": protocol, "scale": preset, "clean": {"mean": mean}}
        for seed, protocol, mean in (("", "own", 10.0), (", seed 1", "own", 20.0), ("", "fred-literal", 90.0))
    ]
    asked = {"preset": preset, "limit": limit, "scale": scale}
    return {"format": "fredbench-grid", "dataset": "digits", "scored_on": suite, "asked": asked, "rows": rows}


def test_seeds_are_averaged_and_nothing_else() -> None:
    """Protocols are systems of their own; other suites, presets, scales and limits are other columns."""
    (column,) = columns_of([document()]).values()
    assert column == {"dm": 15.0, "dm [fred-literal]": 90.0}
    others = (document(preset="paper"), document(limit=100), document(scale="ci"), document(suite="other"))
    for other in others:
        assert len(columns_of([document(), other])) == 2
    assert len(columns_of([document(), *others])) == 5
    with pytest.raises(UsageError, match="stands twice"):
        columns_of([document(), document()])


def test_kept_tables_are_ranked_and_drawn(tmp_path: Path) -> None:
    files = [ROOT / "results" / f"twelve-digits-ipc{ipc}.json" for ipc in (1, 10)]
    picture = tmp_path / "ranks.svg"
    outcome = invoke("suite", "ranks", *files, "--out", picture, "--corruptions", "--format", "json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert len(found["columns"]) == 32 and found["p"] < 1e-6
    systems = [each["system"] for each in found["systems"]]
    assert len(systems) == 13 and systems.index("fred") < systems.index("random")
    assert [each["mean_rank"] for each in found["systems"]] == sorted(each["mean_rank"] for each in found["systems"])
    first = picture.read_bytes()
    assert b"<svg" in first and b"<dc:date>" not in first
    assert invoke("suite", "ranks", *files, "--out", picture, "--corruptions").code == 0
    assert picture.read_bytes() == first
    few = json.loads(invoke("suite", "ranks", *files, "--format", "json").out)
    assert few["columns"] == [
        f"digits, digitsc, quick, ipc {ipc}, {what}" for ipc in (1, 10) for what in ("clean", "average")
    ]
    assert invoke("suite", "ranks", *files, "--out", tmp_path / "x.gif").code == 2
    assert invoke("suite", "ranks", tmp_path / "none.json").code == 2
