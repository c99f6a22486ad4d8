"""The control of attacks: what it holds against a network is what a broken attack would show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import undefended
from fredbench.evaluation.aggregation import Outcomes
from fredbench.evaluation.attacked import Attacked, AttackScore
from fredbench.evaluation.statistics import Sample
from fredbench.evaluation.students import Predictions
from fredbench.evaluation.threats import ATTACKS

FALLING = {1 / 255: 40.0, 2 / 255: 20.0, 4 / 255: 5.0, 8 / 255: 0.5}


def one(value: float) -> Sample:
    return Sample(value, None, 1)


def attacked(**changed: dict[int, float]) -> Attacked:
    """A network that falls as it should under L∞ attacks, but for the named ones' radii (in levels)."""
    scores = []
    for name in undefended.TRIED["linf"][0]:
        left = {**FALLING, **{level / 255: value for level, value in changed.get(name.replace("-", "_"), {}).items()}}
        scores += [AttackScore(name, "linf", epsilon, one(value), None) for epsilon, value in left.items()]
    return Attacked(300, one(80.0), tuple(scores))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, []),
        # One step may leave as much as it does, and two shares may differ by chance.
        ({"fgsm": {8: 3.2}, "pgd20": {1: 41.0}}, []),
        ({"fgsm": {2: 60.0}}, ["fgsm at 2/255 above 1/255: a larger radius breaks less"]),
        ({"pgd50": {1: 55.0}}, [
            "fgsm below pgd50 at 1/255: one step breaks more than fifty",
            "pgd20 below pgd50 at 1/255: more steps break less",
        ]),
        ({"apgd_dlr": {8: 3.0}}, ["apgd-dlr at 8/255 leaves 3.0 %, not less than 3"]),
    ],
)  # fmt: skip
def test_an_attack_that_does_not_work_is_noticed(changed: dict[str, dict[int, float]], said: list[str]) -> None:
    assert list(undefended.broken(attacked(**changed))) == said


def test_a_radius_of_nothing_must_leave_every_prediction() -> None:
    def predicted(*classes: int) -> Outcomes:
        found = Predictions(torch.tensor([classes]), torch.zeros(1, len(classes)), torch.zeros(1, len(classes)))
        return Outcomes([found], np.zeros(len(classes), dtype=np.int64))

    assert not undefended.moved(predicted(0, 1), predicted(0, 1))
    # Both have one right.
    assert undefended.moved(predicted(0, 1), predicted(1, 0))


def test_a_line_an_attack_and_a_column_a_radius() -> None:
    l2 = [
        AttackScore(name, "l2", epsilon, one(30.0), None)
        for name in undefended.TRIED["l2"][0]
        for epsilon in undefended.TRIED["l2"][1]
    ]
    of_l2 = Attacked(300, one(80.0), tuple(l2)).to_mapping()
    both = [attacked().to_mapping(), attacked(fgsm={8: 2.5}).to_mapping()]
    lines = undefended.table({"networks": [{"linf": each, "l2": of_l2} for each in both]})
    assert lines[2] == (
        "| `fgsm` | L∞ | 80.0 ± 0.0 | 40.0 ± 0.0 (1/255) | 20.0 ± 0.0 (2/255) | 5.0 ± 0.0 (4/255) | 1.5 ± 1.4 (8/255) |"
    )
    assert lines[-1].startswith("| `pgd50-l2` | L2 | 80.0 ± 0.0 | – | 30.0 ± 0.0 (0.125) |")
    assert len(lines) == 2 + sum(len(names) for names, _ in undefended.TRIED.values())
    assert {name for names, _ in undefended.TRIED.values() for name in names} == {
        name for name, attack in ATTACKS.items() if not attack.transfer and attack.restarts == 1
    }
