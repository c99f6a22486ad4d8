"""The published schema of result files, and whether a document keeps it.

The schema is JSON Schema 2020-12, which any validator of that standard reads. The few words of it that the schema uses
are interpreted here, so that checking a file needs no further package; a word that is not known here is an error of
the schema itself, never passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["SCHEMA", "VERSION", "schema", "violations"]

VERSION = "fredbench-result/1"
SCHEMA = "result.schema.json"
_MOST = 20
_PLAIN = re.compile(r"[\w.-]+", re.ASCII)
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
}


@cache
def schema() -> Mapping[str, Any]:
    """The schema as shipped."""
    found: Mapping[str, Any] = json.loads((files("fredbench.evaluation.results") / SCHEMA).read_text())
    return found


def violations(value: Any, definition: str = "") -> list[str]:
    """Where and how `value` departs from the schema, or from one of its `$defs`; empty where it keeps it.

    A line a place, such as `scores[0].rows.entry.clean.mean: 103 is above 100`; the first twenty.
    """
    rules = schema()["$defs"][definition] if definition else schema()
    found = []
    for place, what in _broken(value, rules, ""):
        found.append(f"{place.lstrip('.') or 'the document'}: {what}")
        if len(found) == _MOST:
            break
    return found


Broken = Iterator[tuple[str, str]]


def _broken(value: Any, rules: Mapping[str, Any], place: str) -> Broken:
    for word in rules:
        if word not in _WORDS and word not in _REMARKS:
            raise ValueError(f"the schema uses {word!r}, which is not interpreted")
    for word, rule in rules.items():
        if word in _WORDS:
            yield from _WORDS[word](value, rule, rules, place)


def _reference(value: Any, rule: str, rules: Mapping[str, Any], place: str) -> Broken:
    yield from _broken(value, schema()["$defs"][rule.removeprefix("#/$defs/")], place)


def _all_of(value: Any, rule: Any, rules: Mapping[str, Any], place: str) -> Broken:
    for each in rule:
        yield from _broken(value, each, place)


def _type(value: Any, rule: Any, rules: Mapping[str, Any], place: str) -> Broken:
    names = [rule] if isinstance(rule, str) else rule
    if not any(_TYPES[name](value) for name in names):
        yield place, f"{_brief(value)} is no {' or '.join(names)}"


def _const(value: Any, rule: Any, rules: Mapping[str, Any], place: str) -> Broken:
    if value != rule:
        yield place, f"{_brief(value)} is not {_brief(rule)}"


def _enum(value: Any, rule: Any, rules: Mapping[str, Any], place: str) -> Broken:
    if value not in rule:
        yield place, f"{_brief(value)} is none of {', '.join(rule)}"


def _required(value: Any, rule: Any, rules: Mapping[str, Any], place: str) -> Broken:
    if isinstance(value, dict):
        yield from ((place, f"lacks {name}") for name in rule if name not in value)


def _properties(value: Any, rule: Any, rules: Mapping[str, Any], place: str) -> Broken:
    if isinstance(value, dict):
        for name, each in rule.items():
            if name in value:
                yield from _broken(value[name], each, f"{place}.{name}")


def _further(value: Any, rule: Any, rules: Mapping[str, Any], place: str) -> Broken:
    if not isinstance(value, dict):
        return
    known = rules.get("properties", {})
    for name in value:
        if name in known:
            continue
        if rule is False:
            yield place, f"holds {_brief(name)}, which has no meaning there"
        else:
            yield from _broken(value[name], rule, f"{place}.{name if _PLAIN.fullmatch(name) else _brief(name)}")


def _items(value: Any, rule: Any, rules: Mapping[str, Any], place: str) -> Broken:
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from _broken(each, rule, f"{place}[{number}]")


def _bound(measure: Callable[[Any], Any], holds: Callable[[Any, Any], bool], said: str) -> Callable[..., Broken]:
    def check(value: Any, rule: Any, rules: Mapping[str, Any], place: str) -> Broken:
        measured = measure(value)
        if measured is not None and not holds(measured, rule):
            yield place, f"{_brief(value)} {said} {rule}"

    return check


def _pattern(value: Any, rule: Any, rules: Mapping[str, Any], place: str) -> Broken:
    if isinstance(value, str) and not re.search(rule, value):
        yield place, f"{_brief(value)} is not of the form {rule}"


def _size(kind: type[Any]) -> Callable[[Any], int | None]:
    return lambda value: len(value) if isinstance(value, kind) else None


def _number(value: Any) -> int | float | None:
    return value if _TYPES["number"](value) else None


_REMARKS = frozenset({"$schema", "$id", "$defs", "title", "description"})
_WORDS: Mapping[str, Callable[..., Broken]] = {
    "$ref": _reference,
    "allOf": _all_of,
    "type": _type,
    "const": _const,
    "enum": _enum,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _further,
    "items": _items,
    "pattern": _pattern,
    "minimum": _bound(_number, lambda found, least: found >= least, "is below"),
    "maximum": _bound(_number, lambda found, most: found <= most, "is above"),
    "minItems": _bound(_size(list), lambda found, least: found >= least, "has fewer items than"),
    "maxItems": _bound(_size(list), lambda found, most: found <= most, "has more items than"),
    "minLength": _bound(_size(str), lambda found, least: found >= least, "is shorter than"),
    "maxLength": _bound(_size(str), lambda found, most: found <= most, "is longer than"),
}


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:57]}..."
