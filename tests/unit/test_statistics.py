from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fredbench.statistics import Sample, ahead_by_more_than_spread, spread_between, summarise

accuracies = st.floats(0, 100)


@given(st.lists(accuracies, min_size=2, max_size=12))
def test_a_summary_is_numpys_mean_and_sample_standard_deviation(values: list[float]) -> None:
    sample = summarise(values)
    assert sample.n == len(values)
    assert sample.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert sample.std == pytest.approx(np.std(values, ddof=1), abs=1e-9)


def test_one_student_has_no_spread() -> None:
    assert summarise([42.0]) == Sample(42.0, None, 1)
    assert str(summarise([42.0])) == "42.0"
    assert summarise([42.0]).to_mapping() == {"mean": 42.0, "std": None, "n": 1}


def test_nothing_is_no_sample() -> None:
    with pytest.raises(ValueError, match="at least one"):
        summarise([])


@given(st.lists(accuracies, min_size=2, max_size=6), st.lists(accuracies, min_size=2, max_size=6))
def test_the_spread_is_two_standard_errors_of_the_difference(ours: list[float], theirs: list[float]) -> None:
    expected = 2 * math.sqrt(np.var(ours, ddof=1) / len(ours) + np.var(theirs, ddof=1) / len(theirs))
    a, b = summarise(ours), summarise(theirs)
    spread = spread_between(a, b)
    assert spread == pytest.approx(expected, abs=1e-9) and spread == spread_between(b, a)
    assert spread is not None
    assert ahead_by_more_than_spread(a, b) == (a.mean - b.mean > spread)
    assert not (ahead_by_more_than_spread(a, b) and ahead_by_more_than_spread(b, a))


def test_a_difference_counts_only_beyond_the_spread() -> None:
    low = Sample(50.0, 3.0, 9)  # 2 sqrt(9 / 9 + 9 / 9) = 2.83
    assert ahead_by_more_than_spread(Sample(52.9, 3.0, 9), low)
    assert not ahead_by_more_than_spread(Sample(52.8, 3.0, 9), low)


def test_an_unknown_spread_never_counts_as_ahead() -> None:
    one, many = Sample(99.0, None, 1), Sample(1.0, 0.1, 5)
    assert spread_between(one, many) is None and spread_between(many, one) is None
    assert not ahead_by_more_than_spread(one, many)


def test_the_spread_covers_the_t_test_it_stands_for() -> None:
    """Beyond the spread is |t| > 2 of Welch's test, which scipy computes by itself."""
    from scipy.stats import ttest_ind

    draws = np.random.default_rng(0)
    verdicts = set()
    for _ in range(50):
        ours, theirs = draws.normal(52, 2, 5), draws.normal(50, 1, 4)
        t = ttest_ind(ours, theirs, equal_var=False).statistic
        ahead = ahead_by_more_than_spread(summarise(ours.tolist()), summarise(theirs.tolist()))
        assert ahead == (t > 2)
        verdicts.add(ahead)
    assert verdicts == {True, False}
