"""A row's axes: what each is the mean of, which row it comes from, and that nothing stands for what is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_rows import made_calibration, made_row

from fredbench.corruptions import ALL, CBAR, EXTRAS, NAMES
from fredbench.evaluation.attacked import WORST, Attacked, AttackScore
from fredbench.evaluation.profile import CALIBRATED, FAMILIES, absent, few_of_family, profile, same_students
from fredbench.evaluation.rows import CorruptionScore
from fredbench.evaluation.statistics import Sample, summarise
from fredbench.evaluation.threats import Norm


def scores(found: dict[str, list[float]]) -> dict[str, CorruptionScore]:
    return {name: CorruptionScore(summarise(values), ()) for name, values in found.items()}


def test_families_are_the_fifteen_in_their_order() -> None:
    assert tuple(name for members in FAMILIES.values() for name in members) == NAMES


def test_axes_are_means_student_by_student() -> None:
    """Two students that differ, so that a spread of means is not the mean of spreads."""
    given = scores(
        {"gaussian_noise": [10.0, 30.0], "shot_noise": [30.0, 10.0], "fog": [50.0, 60.0], "saturate": [1.0, 3.0]}
    )
    row = made_row(corruptions=(), clean=summarise([80.0, 90.0]))
    assert profile([row]) == {"clean": row.clean}
    row = replace(row, corruptions=given)
    found = profile([row])
    assert list(found) == ["clean", "noise", "weather", "extra"]
    assert (found["noise"].mean, found["noise"].std, found["noise"].values) == (20, 0, (20, 20))
    assert found["weather"].values == (50, 60) and found["extra"].mean == 2
    assert few_of_family([row]) == {
        "noise": ("gaussian_noise", "shot_noise"),
        "weather": ("fog",),
    }
    assert few_of_family([made_row(corruptions=ALL)]) == {}


def test_means_alone_have_no_spread() -> None:
    row = made_row(corruptions=("snow", "frost"))
    bare = {
        name: CorruptionScore(Sample(score.sample.mean, score.sample.std, 3), ())
        for name, score in row.corruptions.items()
    }
    found = profile([replace(row, corruptions=bare)])["weather"]
    assert found.std is None and found.n == 3
    assert found.mean == pytest.approx(profile([row])["weather"].mean)


def test_rows_of_several_tables_fill_one_profile() -> None:
    """The first table that has an axis gives it; C-bar is an axis of its own and in no family."""
    first, second = made_row(1, corruptions=ALL), made_row(2, corruptions=(*CBAR, "gaussian_noise"))
    found = profile([first, second])
    assert list(found) == ["clean", *FAMILIES, "extra", "C-bar"]
    assert found["noise"] == profile([first])["noise"] != profile([second])["noise"]
    assert found["C-bar"].mean == pytest.approx(sum(second.corruptions[n].sample.mean for n in CBAR) / 10)
    assert found["extra"].mean == pytest.approx(sum(first.corruptions[n].sample.mean for n in EXTRAS) / 4)
    assert same_students(first) != same_students(second)
    assert same_students(first) == same_students(made_row(1, corruptions=CBAR, suite="another"))


def test_under_attack_the_worst_at_the_largest_radius_of_each_norm_counts() -> None:
    def score(attack: str, epsilon: float, mean: float, norm: Norm = "linf") -> AttackScore:
        return AttackScore(attack, norm, epsilon, Sample(mean, 1.0, 3), None)

    worst = score(WORST, 8 / 255, 9.0)
    given = (score("fgsm", 2 / 255, 3.0), score("fgsm", 8 / 255, 20.0), score("pgd20", 8 / 255, 9.0), worst)
    row = made_row(attacked=Attacked(50, Sample(60.0, 1.0, 3), (*given, score("pgd20-l2", 0.5, 33.0, "l2"))))
    found = profile([row])
    assert [name for name in found if name.startswith("adv")] == ["adversarial, L2 0.5", "adversarial, L∞ 8/255"]
    assert found["adversarial, L∞ 8/255"] is worst.robust and found["adversarial, L2 0.5"].mean == 33


def test_calibration_is_turned_round() -> None:
    calibration = made_calibration()
    found = profile([made_row(calibration=calibration)])[CALIBRATED]
    ece = calibration["clean"].ece
    assert found.mean == pytest.approx(100 - ece.mean) and found.std == ece.std
    assert found.values == pytest.approx([100 - value for value in ece.values])


def test_what_is_missing_of_all_is_said() -> None:
    assert list(absent([profile([made_row(corruptions=())])])) == [*FAMILIES, "C-bar", "adversarial", CALIBRATED]
    whole = profile([made_row(corruptions=(*NAMES, *CBAR), calibration=made_calibration())])
    assert absent([whole]) == {"adversarial": "--attack"}
