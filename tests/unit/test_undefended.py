"""The control of attacks: what it holds against a network is what a broken attack would show."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import undefended


def entry(**changed: dict[str, float]) -> dict[str, Any]:
    """A network that falls as it should, but for the named attacks' radii."""
    falling = {"0": 80.0, "1": 40.0, "2": 20.0, "4": 5.0, "8": 0.5}
    return {
        "seed": 0,
        "pictures": 500,
        "clean": 80.0,
        "under": {name: {**falling, **changed.get(name, {})} for name in undefended.ATTACKS},
    }


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, []),
        # One step may leave as much as it does, and two shares may differ by chance.
        ({"fgsm": {"8": 4.0}, "pgd20": {"1": 41.0}}, []),
        ({"pgd50": {"0": 79.8}}, ["pgd50 at radius 0 leaves 79.8, not 80.0"]),
        ({"fgsm": {"1": 50.0, "2": 60.0}}, ["fgsm leaves more at 2/255 than at 1/255"]),
        ({"pgd50": {"1": 55.0}}, ["pgd50 leaves more than pgd20 at 1/255"]),
        (
            {"pgd20": {"8": 3.0}, "pgd50": {"8": 3.0}},
            [f"{name} at 8/255 leaves 3.0, not less than 3.0" for name in ("pgd20", "pgd50")],
        ),
    ],
)  # fmt: skip
def test_an_attack_that_does_not_work_is_noticed(changed: dict[str, dict[str, float]], said: list[str]) -> None:
    found = list(undefended.broken(entry(**changed)))
    assert [what for what in found if what in said] == said and (found == [] or said)


def test_a_line_an_attack_and_a_column_a_radius() -> None:
    found = undefended.table({"pooled": undefended.pooled([entry(), entry(fgsm={"8": 2.5})])})
    assert found[0].endswith("| 0/255 | 1/255 | 2/255 | 4/255 | 8/255 |")
    assert found[2] == "| `fgsm` | 80.0 ± 0.0 | 40.0 ± 0.0 | 20.0 ± 0.0 | 5.0 ± 0.0 | 1.5 ± 1.4 |"
    assert len(found) == 2 + len(undefended.ATTACKS)
