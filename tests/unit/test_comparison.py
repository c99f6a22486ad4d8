"""Sets compared: formulas against scipy's and against simulations whose answer is known."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from commands import ROOT
from hypothesis import given
from hypothesis import strategies as st
from made_rows import made_row, made_trio
from scipy import stats

from fredbench.evaluation.aggregation import Outcomes
from fredbench.evaluation.comparison import Comparison, holm, mcnemar, paired, unpaired
from fredbench.evaluation.pairing import compared, shares_right
from fredbench.evaluation.significance import between, claims, footnotes
from fredbench.evaluation.statistics import Sample, summarise
from fredbench.evaluation.students import Predictions


def right(students: int, pictures: int, seed: int, share: float = 0.6) -> np.ndarray:
    """Students × pictures, right or wrong, pictures of unequal difficulty."""
    draws = np.random.default_rng(seed)
    difficulty = draws.normal(0, 0.25, pictures)
    return (draws.random((students, pictures)) < share + difficulty).astype(float)


shares = st.lists(st.integers(0, 1000).map(lambda right: right / 10), min_size=3, max_size=6)


@given(shares, shares)
def test_unpaired_is_scipys_welch_with_half_a_degree_less(ours: list[float], theirs: list[float]) -> None:
    a, b = summarise(ours), summarise(theirs)
    found = unpaired(a, b)
    if found.model == "none":
        assert a.std == b.std == 0
        return
    if found.df is None or min(np.std(ours), np.std(theirs)) < 1e-6:
        return
    theirs_found = stats.ttest_ind(ours, theirs, equal_var=False)
    df = max(theirs_found.df - 0.5, min(len(ours), len(theirs)) - 1)
    assert found.df == pytest.approx(df, rel=1e-6) and found.difference == pytest.approx(a.mean - b.mean)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(theirs_found.statistic), df), rel=1e-6, abs=1e-12)
    half = stats.t.ppf(0.975, df) * found.error
    assert found.interval == pytest.approx((found.difference - half, found.difference + half), rel=1e-6)


@given(st.integers(1, 60), st.integers(0, 10_000))
def test_mcnemar_is_scipys_binomial_test_of_the_discordant(pictures: int, seed: int) -> None:
    draws = np.random.default_rng(seed)
    ours, theirs = draws.random((2, pictures)) < 0.5
    won, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    found = mcnemar(ours, theirs)
    expected = stats.binomtest(won, won + lost, 0.5).pvalue if won + lost else 1.0
    assert found.p == pytest.approx(expected, rel=1e-9) and found.difference == pytest.approx(
        100 * (won - lost) / pictures
    )
    # One student a side is McNemar's test, whatever asks.
    assert paired(ours[None].astype(float), theirs[None].astype(float)) == found


def test_two_students_that_are_right_on_the_same_pictures_have_no_interval() -> None:
    """0.0 to 0.0 would be a certainty that forty pictures do not give."""
    same = np.arange(40) % 2 == 0
    found = mcnemar(same, same)
    assert (found.difference, found.p, found.interval) == (0, 1, None) and found.to_mapping()["ci95"] is None
    (claim,) = claims([found])
    assert "p = 1, and no interval" in claim.told() and not claim.holds
    assert mcnemar(same, ~same).interval is not None and mcnemar(same | True, same & False).interval is None


def test_paired_is_the_sum_of_three_variances() -> None:
    ours, theirs = right(4, 200, 1), right(3, 200, 2)
    found = paired(ours, theirs)
    students = [stats.sem(100 * side.mean(axis=1)) ** 2 for side in (ours, theirs)]
    pictures = stats.sem(100 * (ours.mean(axis=0) - theirs.mean(axis=0))) ** 2
    assert found.error == pytest.approx(np.sqrt(sum(students) + pictures))
    welch = stats.ttest_ind(ours.mean(axis=1), theirs.mean(axis=1), equal_var=False)
    df = (sum(students) + pictures) ** 2 / (sum(students) ** 2 / (welch.df - 0.5) + pictures**2 / 199)
    assert found.df == pytest.approx(df)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.difference) / found.error, df))
    other = paired(theirs, ours)
    assert (other.difference, other.p, other.error) == (-found.difference, found.p, found.error)


def test_pictures_that_are_hard_for_both_cancel() -> None:
    """Shuffling one side's pictures undoes the pairing and widens the interval."""
    draws = np.random.default_rng(3)
    hard = draws.random(400) < 0.5
    ours, theirs = (np.where(draws.random((3, 400)) < 0.05, ~hard, hard).astype(float) for _ in range(2))
    together, apart = paired(ours, theirs), paired(ours, theirs[:, draws.permutation(400)])
    assert together.error is not None and apart.error is not None and together.error < 0.5 * apart.error


def test_what_is_too_little_is_no_claim() -> None:
    for ours, theirs in ((2, 3), (1, 3), (3, 1), (2, 2)):
        found = paired(right(ours, 50, 1), right(theirs, 50, 2, 0.1))
        assert found.model == "none" and found.p is None and found.interval is None and found.difference > 0
    assert unpaired(Sample(50.0, 1.0, 2), Sample(10.0, 1.0, 5)).model == "none"
    assert unpaired(Sample(50.0, None, 1), Sample(10.0, 1.0, 5)).model == "none"
    # Shares over corruptions of one student are no right or wrong: nothing to count.
    assert paired(np.full((1, 9), 0.3), np.full((1, 9), 0.1)).model == "none"
    same = np.ones((3, 10))
    assert paired(same, same).model == "none" and paired(same, same).difference == 0
    (claim,) = claims([paired(same, same)])
    assert not claim.holds and str(claim) == "+0.0" and "too small" in footnotes([claim])[0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_step_down_by_definition(ps: list[float]) -> None:
    adjusted, order, m = holm(ps), np.argsort(ps, kind="stable"), len(ps)
    for rank, place in enumerate(order):
        expected = max(min(1.0, (m - j) * ps[order[j]]) for j in range(rank + 1))
        assert adjusted[place] == pytest.approx(expected)
    assert all(a >= p for a, p in zip(adjusted, ps, strict=True))
    rejected = [a < 0.05 for a in adjusted]
    bonferroni = [p * m < 0.05 for p in ps]
    assert all(r or not b for r, b in zip(rejected, bonferroni, strict=True)), "never weaker than Bonferroni"


@pytest.mark.parametrize("p", [float("nan"), -0.1, 1.5])
def test_holm_refuses_what_is_no_p(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.01, p, 0.2])


def test_a_star_is_of_sets_and_a_dagger_of_two_students() -> None:
    draws = np.random.default_rng(0)
    strong = mcnemar(np.ones(100, dtype=bool), draws.random(100) < 0.5)
    wide = unpaired(Sample(90.0, 1.0, 3), Sample(30.0, 1.0, 3))
    one, two = claims([strong, wide])
    assert str(one).endswith("†") and str(two) == "+60.0*"
    said = footnotes([one, two])
    assert "2 comparisons" in said[0] and any(line.startswith("†") for line in said) and "of these very sets" in said[1]
    assert "one comparison" in footnotes(claims([wide]))[0] and footnotes([]) == []


def outcomes(predicted: np.ndarray, labels: np.ndarray) -> Outcomes:
    """One domain: students × severities × pictures."""
    blank = torch.zeros(predicted.shape[1:])
    found = [Predictions(torch.from_numpy(one).to(torch.int16), blank, blank) for one in predicted]
    return Outcomes(found, labels)


def test_shares_are_means_over_domains_and_severities_and_need_the_same_pictures() -> None:
    draws = np.random.default_rng(0)
    labels = draws.integers(0, 4, 30)
    one, two = (outcomes(draws.integers(0, 4, (3, severities, 30)), labels) for severities in (2, 5))
    found = shares_right([one, two])
    assert found is not None and found.shape == (3, 30)
    by_student = [(np.mean(a) + np.mean(b)) / 2 for a, b in zip(one.accuracies(), two.accuracies(), strict=True)]
    assert 100 * found.mean(axis=1) == pytest.approx(by_student)
    assert shares_right([one, outcomes(draws.integers(0, 4, (3, 2, 30)), labels[::-1].copy())]) is None


def test_rows_are_compared_by_predictions_where_they_have_them() -> None:
    draws = np.random.default_rng(0)
    labels = draws.integers(0, 4, 200)
    read = {
        Path(name): {
            "net": lambda _, good=good: outcomes(np.where(draws.random((3, 1, 200)) < good, labels, 9), labels)
        }
        for name, good in (("runs/own", 0.9), ("runs/control", 0.2))
    }
    found = compared({Path("runs/own"): [Path("runs/control")]}, {"clean": ["clean"]}, read)["runs/own"]
    assert [(each.to, each.network, each.domain, each.found.model) for each in found] == [
        ("control", "net", "clean", "paired")
    ]
    ours = made_row(1, run="runs/own", network="net", compared=found)
    theirs = made_row(2, run="elsewhere/control", network="net")
    assert between(ours, theirs) is found[0].found and ours.to_mapping()["compared"][0]["to"] == "control"
    other = made_row(2, run="runs/control", network="another")
    fallback = between(ours, other)
    assert fallback is not None and fallback.model == "welch"
    assert between(made_row(1, corruptions=()), made_trio()[1], "average") is None


@pytest.fixture(scope="module")
def simulation() -> SimpleNamespace:
    """What `benchmarks/false_positives.py` is made of."""
    return SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "false_positives.py")))


def test_tables_of_equal_sets_have_no_star_in_19_of_20(simulation: SimpleNamespace) -> None:
    """200 of the benchmark's 2,000 tables: 5 % and two standard errors of the count are 16."""
    found = simulation.simulated(tables=200, seed=1)
    assert found.tables == 200 and found.starred <= 16
    # The star by the spread, as tables had it once, shows one in far more of the same tables.
    assert found.by_spread > 30


def test_differences_that_are_there_are_found_with_their_size(simulation: SimpleNamespace) -> None:
    """Sets that differ by about 20 points: mostly starred, and the interval holds the true difference in 95 of 100."""
    found = simulation.simulated(tables=100, seed=2, lead=1.2)
    assert found.starred_comparisons > 0.5 * found.comparisons
    assert found.covered > 0.92 * found.comparisons


def test_comparisons_round_in_json() -> None:
    mapping: dict[str, Any] = Comparison(1.23456, "welch", (3, 4), 0, 0.98765, 4.4444, 0.0123456, None).to_mapping()
    assert mapping["difference"] == 1.2346 and mapping["p"] == 0.01235 and mapping["effect"] is None
    assert mapping["units"] == [3, 4] and len(mapping["ci95"]) == 2
