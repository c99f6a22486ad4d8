"""The published schema of result files: all of it is interpreted, and what departs from it is named by its place."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from commands import ROOT
from made_results import made_document

from fredbench.evaluation.results.arithmetic import differences
from fredbench.evaluation.results.reading import row_of
from fredbench.evaluation.results.schema import _REMARKS, _WORDS, schema, violations


def words(rules: Any) -> Iterator[str]:
    """Every word of a schema, names of properties aside."""
    for word, rule in rules.items():
        yield word
        if word in {"properties", "$defs"}:
            for each in rule.values():
                yield from words(each)
        elif isinstance(rule, dict):
            yield from words(rule)
        elif word == "allOf":
            for each in rule:
                yield from words(each)


def test_every_word_of_the_schema_is_interpreted() -> None:
    assert set(words(schema())) <= _WORDS.keys() | _REMARKS
    assert schema()["$id"].startswith("urn:") and schema()["properties"]["schema"]["const"] == "fredbench-result/1"


CHANGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "another version": (lambda d: d.update(schema="fredbench-result/0"), "schema: "),
    "no sets": (lambda d: d.pop("sets"), "the document: lacks sets"),
    "no name": (lambda d: d.update(name=""), "name: "),
    "a long name": (lambda d: d.update(name="x" * 201), "name: "),
    "no digest": (lambda d: d["data"].update(fingerprint="ab"), "data.fingerprint: "),
    "above 100": (lambda d: _entry(d)["clean"].update(mean=103), "scores[0].rows.entry.clean.mean: 103 is above 100"),
    "text": (lambda d: _entry(d)["clean"]["values"].__setitem__(1, "9"), "scores[0].rows.entry.clean.values[1]: "),
    "truth": (lambda d: _entry(d).update(students=True), "scores[0].rows.entry.students: true is no integer"),
    "no values": (lambda d: _entry(d)["clean"].pop("values"), "scores[0].rows.entry.clean: lacks values"),
    "no students": (
        lambda d: _entry(d)["corruptions"]["contrast"].pop("by_student"),
        "scores[0].rows.entry.corruptions.contrast: lacks by_student",
    ),
    "negative": (lambda d: d["sets"]["entry"]["ledger"].update(params=-1), "sets.entry.ledger.params: "),
    "a role": (lambda d: d["sets"].update(best=d["sets"]["entry"]), 'sets: holds "best"'),
    "a severity": (lambda d: d["scores"][0].update(severities=[6]), "scores[0].severities[0]: 6 is above 5"),
    "no scores": (lambda d: d.update(scores=[]), "scores: "),
    "a source": (lambda d: d["scores"][0].update(source="mine"), 'scores[0].source: "mine" is none of'),
    "a list": (lambda d: d.update(scored_in=[]), "scored_in: [] is no object"),
}


def _entry(document: Any) -> Any:
    return document["scores"][0]["rows"]["entry"]


@pytest.mark.parametrize("how", CHANGES)
def test_what_departs_is_named_by_its_place(how: str) -> None:
    document = made_document(1)
    assert violations(document) == []
    change, place = CHANGES[how]
    change(document)
    assert violations(document) and violations(document)[0].startswith(place)


def test_what_a_later_version_adds_is_let_through() -> None:
    document = made_document(1)
    _entry(document)["later"] = document["later"] = document["sets"]["entry"]["ledger"]["later"] = {"any": [None]}
    assert violations(document) == []


def test_another_reader_of_the_standard_agrees() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="no other validator of JSON Schema on this machine")
    other = jsonschema.Draft202012Validator(schema())
    assert list(other.iter_errors(made_document(1))) == []
    for change, _ in CHANGES.values():
        document = copy.deepcopy(made_document(1))
        change(document)
        assert list(other.iter_errors(document)), change


def test_rows_of_the_kept_files_come_back_as_they_were() -> None:
    count = 0
    for file in sorted((ROOT / "results").glob("*.json")):
        for plain in json.loads(file.read_text()).get("rows", ())[:6]:
            assert violations(plain, "row") == []
            again = row_of(plain).to_mapping()
            count += 1
            # Intervals and drops follow from rounded numbers here, and older files lack intervals.
            known = {key: plain[key] for key in again if key in plain}
            wrong = differences(known, {key: again[key] for key in known}, "row")
            assert [check for check in wrong if ".ci95" not in check.what and check.what != "row.drop"] == []
            assert set(again) <= {*plain, "suite"}
    assert count > 20


def test_rows_with_values_come_back_whole() -> None:
    plain = _entry(made_document(1))
    again = row_of(plain).to_mapping()
    assert again.keys() == plain.keys() and differences(plain, again, "row") == []
    assert again["corruptions"]["contrast"]["by_student"] == plain["corruptions"]["contrast"]["by_student"]
