"""Settings as frozen dataclasses: read from mappings, overridden from text, unknown keys refused by name."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from fredbench.foundation.errors import UnknownNameError, UsageError

C = TypeVar("C")

__all__ = ["built", "from_mapping", "late", "parse_value", "replace_known", "to_mapping"]

_LATE = "left out at its default"


_AS_DEFAULT = object()


def late(default: Any, *, absent: Any = _AS_DEFAULT) -> Any:
    """A field that came after artefacts had been written: `to_mapping` leaves it out while it is as it was before.

    So a spec, a header or a student's cell that does not use it keeps its digest, its name and its bytes. absent: what
    it was before, where that is not the default; who reads an artefact puts it in (see `TrainingRecipe.stored`).
    """
    return dataclasses.field(default=default, metadata={_LATE: default if absent is _AS_DEFAULT else absent})


def to_mapping(config: Any) -> dict[str, Any]:
    """A frozen dataclass of plain values as a dictionary (tuples become lists, None is left out; see `late`)."""
    plain = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is not None and not (_LATE in field.metadata and value == field.metadata[_LATE]):
            plain[field.name] = list(value) if isinstance(value, tuple) else value
    return plain


def from_mapping(kind: type[C], values: Mapping[str, Any], *, where: str) -> C:
    """Build `kind` from `values`; an unknown key or a value of another type is a `UsageError` naming `where`."""
    return replace_known(kind(), values, where=where)


def built(kind: type[C], values: Mapping[str, Any], *, where: str) -> C:
    """A `kind` whose fields without a default must all be among `values`; unknown keys are refused by name."""
    fields = dataclasses.fields(typing.cast(Any, kind))
    known = {field.name for field in fields}
    for key in values:
        if key not in known:
            raise UnknownNameError(f"key of {where}:", key, known)
    absent = (dataclasses.MISSING, dataclasses.MISSING)
    required = [field.name for field in fields if (field.default, field.default_factory) == absent]
    if missing := [name for name in required if name not in values]:
        raise UsageError(f"{where} lacks {', '.join(missing)}", hint=f"it needs: {', '.join(required)}")
    hints = typing.get_type_hints(kind)
    return kind(**{key: parse_value(value, hints[key], where=f"{where}: {key}") for key, value in values.items()})


def replace_known(config: C, values: Mapping[str, Any], *, where: str) -> C:
    """`config` with `values` put in; strings are parsed to the type of their field."""
    known = {field.name: field for field in dataclasses.fields(typing.cast(Any, config))}
    hints = typing.get_type_hints(type(config))
    changes = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(f"unknown setting {key!r} of {where}", hint=f"{hint}known: {', '.join(known)}")
        changes[key] = parse_value(value, hints[key], where=f"{where}.{key}")
    return typing.cast(C, dataclasses.replace(typing.cast(Any, config), **changes))


def parse_value(value: Any, kind: Any, *, where: str) -> Any:
    """`value` as `kind` (bool, int, float, str, a tuple of them, or an optional one); text is parsed."""
    options = typing.get_args(kind) if typing.get_origin(kind) in {typing.Union, types.UnionType} else (kind,)
    for option in options:
        if option is type(None):
            if value is None or value == "none":
                return None
            continue
        parsed = _as(value, option)
        if parsed is not None:
            return parsed
    names = " or ".join(_described(option) for option in options)
    raise UsageError(f"{where} = {value!r} is not {names}", hint=f"give {names}")


def _described(kind: Any) -> str:
    """A type as the reader of a message knows it."""
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(repr(value) for value in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return f"a list of {_described(typing.get_args(kind)[0])}, with commas between"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "none"}
    return words.get(kind, str(kind))


def _as(value: Any, kind: Any) -> Any:
    if typing.get_origin(kind) is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            return None
        element = typing.get_args(kind)[0]
        parsed = [_as(item, element) for item in items]
        return None if any(item is None for item in parsed) else tuple(parsed)
    if typing.get_origin(kind) is typing.Literal:
        return value if value in typing.get_args(kind) else None
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
    if kind is int:
        return _integer(value)
    if kind is float:
        try:
            return float(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError):
            return None
    return str(value) if kind is str and isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return int(value) if isinstance(value, (int, str)) else _whole(float(value))
    except (TypeError, ValueError):
        pass
    try:
        return _whole(float(value))  # such as 2e4
    except (TypeError, ValueError):
        return None


def _whole(number: float) -> int | None:
    return int(number) if number.is_integer() else None
