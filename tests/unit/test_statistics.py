from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fredbench.evaluation.significance import ahead_by_more_than_spread, spread_between
from fredbench.evaluation.statistics import (
    Sample,
    corruption_errors,
    mean_over,
    over_sets,
    relative_corruption_errors,
    summarise,
)

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
    assert summarise([42.0]).to_mapping() == {"mean": 42.0, "std": None, "n": 1, "ci95": None, "values": [42.0]}


def test_a_sample_keeps_what_it_was_made_of_and_is_none_the_other_for_it() -> None:
    sample = summarise([40.0, 42.5, 41.00004])
    assert sample.to_mapping()["values"] == [40.0, 42.5, 41.00004]
    assert sample == Sample(sample.mean, sample.std, 3) and "values" not in Sample(1.0, None, 1).to_mapping()


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


def test_the_spread_is_where_t_of_welchs_test_is_2() -> None:
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


@given(st.lists(accuracies, min_size=2, max_size=12))
def test_the_interval_is_students_t(values: list[float]) -> None:
    from scipy.stats import t

    sample = summarise(values)
    assert sample.interval is not None
    scale = np.std(values, ddof=1) / math.sqrt(len(values))
    if scale > 1e-9:
        expected = t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=scale)
        assert sample.interval == pytest.approx(expected, rel=1e-6, abs=1e-6)
    low, high = sample.interval
    assert low <= sample.mean <= high and sample.to_mapping()["ci95"] == [round(low, 4), round(high, 4)]


def test_corruption_errors_are_ratios_of_sums() -> None:
    """By hand, after Hendrycks and Dietterich's definitions."""
    ours = {"fog": [30.0, 50.0], "snow": [20.0, 20.0]}
    theirs = {"fog": [40.0, 60.0], "snow": [10.0, 30.0]}
    errors = corruption_errors(ours, theirs)
    assert errors == {"fog": pytest.approx(80.0), "snow": pytest.approx(100.0)} and mean_over(errors) == 90.0
    # Above clean errors of 10 and 5: (20 + 40) / (35 + 55) and (10 + 10) / (5 + 25).
    relative = relative_corruption_errors(ours, 10.0, theirs, 5.0)
    assert relative["fog"] == pytest.approx(100 * 60 / 90) and relative["snow"] == pytest.approx(100 * 20 / 30)


def test_a_network_against_itself_errs_by_100() -> None:
    own = {"fog": [31.0, 52.0], "snow": [12.0, 20.0]}
    assert mean_over(corruption_errors(own, own)) == pytest.approx(100)
    assert mean_over(relative_corruption_errors(own, 9.0, own, 9.0)) == pytest.approx(100)


def test_what_has_no_denominator_is_no_number() -> None:
    ours = {"fog": [30.0, 50.0], "snow": [20.0, 20.0]}
    missing = corruption_errors(ours, {"fog": [40.0, 60.0]})
    assert missing["snow"] is None and mean_over(missing) is None
    assert corruption_errors(ours, {"fog": [0.0, 0.0], "snow": [1.0, 1.0]})["fog"] is None
    # A baseline that does not suffer from a corruption.
    unharmed = relative_corruption_errors(ours, 10.0, {"fog": [5.0, 5.0], "snow": [30.0, 30.0]}, 5.0)
    assert unharmed["fog"] is None and mean_over(unharmed) is None and mean_over({}) is None


def test_several_sets_are_a_sample_of_sets_and_one_stays_a_sample_of_students() -> None:
    sets = [summarise([10.0, 14.0]), summarise([20.0, 20.0]), summarise([27.0, 27.0])]
    pooled = over_sets(sets)
    assert (pooled.mean, pooled.std, pooled.n) == (pytest.approx(59 / 3), pytest.approx(7.505553, abs=1e-6), 3)
    # Student's t at two degrees of freedom, 4.302653: of three sets, not of six students.
    half = 4.302653 * 7.505553 / math.sqrt(3)
    assert pooled.interval is not None and pooled.interval[1] - pooled.mean == pytest.approx(half)
    assert over_sets(sets[:1]) is sets[0]
