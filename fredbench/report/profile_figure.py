"""One chart of all that was measured of the sets of one dataset: a line of the chart an axis, a mark a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fredbench.evaluation.profile import CALIBRATED, FAMILIES, absent, few_of_family, place, profile, same_students
from fredbench.evaluation.rows import Row
from fredbench.evaluation.statistics import Sample
from fredbench.report.drawing import Theme, dots, drawn, legend_above, styles, svg
from fredbench.report.figures import distinct_labels

__all__ = ["profile_caption", "profile_figure", "profiled"]

_Rows = Sequence[Sequence[Row]]


def profiled(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of several tables of one dataset, those of the same students together, in their order."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(same_students(row), []).append(row)
    return list(found.values())


def profile_figure(sets: _Rows, theme: Theme = "light") -> str:
    """SVG: every axis that was measured of any of `sets` (see `profiled`), in percent, with the std over students."""
    profiles, firsts = _profiles(sets), [rows[0] for rows in sets]
    names = _names(list(profiles.values()))
    with drawn(theme, (6.4, 0.42 * len(names) + 1.2 + 0.2 * len(sets))) as figure:
        axes = figure.subplots()
        dots(axes, {label: [found.get(name) for name in names] for label, found in profiles.items()},
             styles(firsts, theme))  # fmt: skip
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_xlabel("accuracy in %; calibration: 100 less the error in %")
        legend_above(figure, axes, len(sets))
        return svg(figure, f"profile {firsts[0].dataset} {theme}")


def profile_caption(sets: _Rows) -> str:
    """What stands in the chart, what is missing and how it is had."""
    profiles = _profiles(sets)
    names = _names(list(profiles.values()))
    said = ["Mean and std over students, higher is better."]
    families = [name for name in FAMILIES if name in names]
    if families:
        said.append(f"{', '.join(families)}: means over the suite's corruptions of the family and their severities.")
    few = few_of_family([row for rows in sets for row in rows])
    said += [f"{name} is {' and '.join(those).replace('_', ' ')} alone." for name, those in few.items()]
    if any(name.startswith("adversarial") for name in names):
        said.append(
            "adversarial: what the worst of the attacks asked for leaves at the largest radius asked for, on the "
            "pictures that were attacked; a stronger attack may leave less."
        )
    if CALIBRATED in names:
        said.append(f"{CALIBRATED}: no accuracy; a student that knows nothing, and knows that, has 100 too.")
    missing = absent(list(profiles.values()))
    if missing:
        said.append("Not measured here: " + ", ".join(f"{name} (takes {how})" for name, how in missing.items()) + ".")
    for name in names:
        without = [label for label, found in profiles.items() if name not in found]
        said += [f"{name} was not measured of {', '.join(without)}."] if without else []
    return " ".join(said)


def _profiles(sets: _Rows) -> dict[str, dict[str, Sample]]:
    labels = distinct_labels([rows[0] for rows in sets])
    return {label: profile(rows) for label, rows in zip(labels, sets, strict=True)}


def _names(profiles: Sequence[Mapping[str, Sample]]) -> list[str]:
    """Every axis that one of them has, in order."""
    every = list(dict.fromkeys(name for found in profiles for name in found))
    return sorted(every, key=place)
