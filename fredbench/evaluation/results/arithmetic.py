"""The numbers of a result file, made again from what each student had, and compared one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fredbench.evaluation.measures import average_over, corruption_scores
from fredbench.evaluation.results.reading import protocol_of, row_of
from fredbench.evaluation.rows import Row
from fredbench.evaluation.statistics import summarise
from fredbench.foundation.checks import Check
from fredbench.suites.parts import Baseline

__all__ = ["arithmetic_checks", "differences", "numbers"]

_TOLERANCE = 1.5e-4
"""Numbers are rounded to 1e-4: one that lies between two roundings may be given as either."""
_WHOLE = 1e-3
_DERIVED = (
    "clean", "average", "drop", "drop_from", "corruptions", "mce", "relative_mce", "baseline", "domains",
)  # fmt: skip
_GIVEN = ("calibration", "selected", "by_network", "over_networks", "compared", "storage")


def arithmetic_checks(score: Mapping[str, Any], role: str, where: str) -> list[Check]:
    """What follows from the values of students of one row: means, deviations, intervals, averages, corruption errors.

    score: one of a document's that keeps the schema. A line for all that holds, and one for every number that does not.
    """
    plain = score["rows"][role]
    wrong = list(_shape(score, plain, where))
    if not wrong:  # What is not of one number of students and severities has no means.
        derived = _derived(row_of(plain), score).to_mapping()
        wrong += differences(_numbers_of(plain), _numbers_of(derived), where)
        wrong += _uncountable(score, plain, where)
        wrong += _apart(score, plain, where)
    total = len(list(numbers(plain)))
    found = f"{total:,} numbers follow" if not wrong else f"{len(wrong)} of {total:,} numbers do not follow"
    first = Check(f"{where}: arithmetic", "of students' values", found, not wrong)
    unread = [
        Check(f"{where}.{name}", "given", "does not follow from these values", None) for name in _GIVEN if name in plain
    ]
    return [first, *wrong, *unread]


def _numbers_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain.get(name) for name in _DERIVED}


def _shape(score: Mapping[str, Any], plain: Mapping[str, Any], where: str) -> Iterator[Check]:
    """As many values as students, as many severities as are said, and the same settings as the score's."""
    for key in ("protocol", "scale", "network", "students", "limit"):
        if plain[key] != score[key]:
            yield Check(f"{where}.{key}", str(score[key]), str(plain[key]), False)
    told, entry = protocol_of(plain), protocol_of(score["rows"]["entry"])
    if told != entry:
        yield Check(f"{where}.train_labels", f"as the entry's students: {entry}", told, False)
    if plain.get("train_labels") == "relabelled" and not plain.get("teacher"):
        yield Check(f"{where}.teacher", "who relabelled", "is not said", False)
    for name, found in _samples(plain, where):
        if len(found["values"]) != plain["students"]:
            yield Check(f"{name}.values", f"{plain['students']} students", f"{len(found['values'])} values", False)
    severities = len(score["severities"])
    corruptions, asked = plain.get("corruptions", {}), score["suite"]["constants"].get("corruptions")
    if list(corruptions) != asked:
        yield Check(f"{where}.corruptions", "the suite's", f"{len(corruptions)} of others or another order", False)
    for name, found in corruptions.items():
        shape = [len(each) for each in found["by_student"]]
        if shape != [severities] * plain["students"] or len(found["by_severity"]) != severities:
            said = f"{plain['students']} students × {severities} severities"
            yield Check(f"{where}.corruptions.{name}.by_student", said, f"lists of {shape or 'nothing'}", False)
    baseline = score["suite"]["baseline"]
    if baseline is not None and (missing := [name for name in corruptions if name not in baseline["errors"]]):
        yield Check(f"{where}.mce", "errors of every corruption", f"none of {missing[0]} in the baseline", False)


def _samples(plain: Mapping[str, Any], where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield f"{where}.clean", plain["clean"]
    if "average" in plain:
        yield f"{where}.average", plain["average"]
    for group in ("domains", "corruptions"):
        for name, found in plain.get(group, {}).items():
            yield f"{where}.{group}.{name}", found


def _derived(row: Row, score: Mapping[str, Any]) -> Row:
    """`row` with every number that its values of students give."""
    by_corruption = {name: found.by_student for name, found in row.corruptions.items()}
    given = score["suite"]["baseline"]
    baseline = None if given is None else _baseline(given)
    shifted = [[[value] for value in found.values] for name, found in row.domains.items() if name != "clean-crop"]
    averaged: Sequence[Any] = list(by_corruption.values()) or shifted
    changes: dict[str, Any] = {
        "clean": summarise(row.clean.values),
        "domains": {name: summarise(found.values) for name, found in row.domains.items()},
        "average": average_over(averaged) if averaged else None,
        "mce": None,
        "relative_mce": None,
        "baseline": None,
        **corruption_scores(by_corruption, row.reference.values, baseline, score["severities"]),
    }
    return dataclasses.replace(row, **changes)


def _baseline(given: Mapping[str, Any]) -> Baseline:
    known = {field.name for field in dataclasses.fields(Baseline)}
    errors = {name: tuple(map(float, each)) for name, each in given["errors"].items()}
    return Baseline(
        **{**{name: given[name] for name in given if name in known}, "clean": float(given["clean"]), "errors": errors}
    )


def _uncountable(score: Mapping[str, Any], plain: Mapping[str, Any], where: str) -> Iterator[Check]:
    """Accuracies that are no share of the pictures that were scored."""
    for name, found in _samples(plain, where):
        domain = name.rpartition(".")[2]
        if domain == "average" or (pictures := score["pictures"].get(domain)) is None:
            continue
        values = [value for each in found.get("by_student", [found["values"]]) for value in each]
        rights = [value * pictures / 100 for value in values]
        broken = [value for value, right in zip(values, rights, strict=True) if abs(right - round(right)) > _WHOLE]
        if broken:
            yield Check(f"{name}.values", f"{broken[0]:g} %", f"no whole number of {pictures:,} pictures", False)


def _apart(score: Mapping[str, Any], plain: Mapping[str, Any], where: str) -> Iterator[Check]:
    """Comparisons with rows of the same score whose difference is not that of the means, or of a test that is none."""
    runs = {row["run"]: row for row in score["rows"].values()}
    for number, said in enumerate(plain.get("compared", ())):
        other, place = runs.get(said["to"]), f"{where}.compared[{number}]"
        if said["p"] is not None and (said["model"] == "none" or said["error"] is None or said["df"] is None):
            yield Check(f"{place}.p", f"{said['p']:g}", "of no test", False)
        if other is None or said["network"] != plain["network"] or not {said["on"]} <= plain.keys() & other.keys():
            continue
        if said["on"] in {"clean", "average"}:
            found = plain[said["on"]]["mean"] - other[said["on"]]["mean"]
            if abs(found - said["difference"]) > 2 * _TOLERANCE:
                yield Check(f"{place}.difference", f"{said['difference']:g}", f"{found:.4f}", False)


def differences(claimed: Any, found: Any, where: str) -> list[Check]:
    """A failed check for every leaf of two JSON values that differs, numbers by more than their rounding."""
    if isinstance(claimed, dict) and isinstance(found, dict):
        keys = list(dict.fromkeys([*claimed, *found]))
        return [c for key in keys for c in differences(claimed.get(key), found.get(key), f"{where}.{key}")]
    if isinstance(claimed, list) and isinstance(found, list) and len(claimed) == len(found):
        pairs = enumerate(zip(claimed, found, strict=True))
        return [check for number, (a, b) in pairs for check in differences(a, b, f"{where}[{number}]")]
    both = _number(claimed) and _number(found)
    same = abs(claimed - found) <= _TOLERANCE if both else claimed == found
    return [] if same else [Check(where, _brief(claimed), _brief(found), False)]


def numbers(value: Any) -> Iterator[float]:
    """Every number in a JSON value."""
    if _number(value):
        yield value
    elif isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from numbers(each)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _brief(value: Any) -> str:
    text = "nothing" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
