"""Files of measured speeds, `benchmarks/results/*.json`: written whole, and checked whenever they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fredbench.foundation.errors import ArtefactError
from fredbench.foundation.files import write_json

FORMAT, VERSION = "fredbench-speed", 1
RESULTS = Path(__file__).resolve().parent / "results"

_SECONDS = {"ours": float, "plain": float}
# A form is a type, None-or-that as a tuple, [form] for a list, {str: form} for any names, or a mapping of known names.
_SUBJECT = {
    "what": str,
    "note": str,
    "unit": str,
    "load": float,
    "setting": {str: object},
    "whole": {str: object},
    "resolved": {str: object},
    "rounds": [_SECONDS],
    "default_allocator": [_SECONDS],
    "parts": [{str: [float]}],
    "memory": (None, {"peak_bytes": int, "floor_bytes": int}),
    "goal": {"ratio": (None, float), "gib": (None, float), "part": (None, float)},
}
_FORM = {
    "format": str,
    "format_version": int,
    "setting": {"threads": int, "rounds": int, "tiny": bool, "short": bool},
    "load": [float],
    "environment": {
        "versions": {str: str},
        "commit": (None, str),
        "device": str,
        "device_name": str,
        "instruction_sets": {str: object},
        "cores": int,
        "threads": int,
    },
    "subjects": {str: _SUBJECT},
}


def read(file: Path) -> dict[str, Any]:
    """A file of speeds; `ArtefactError` naming the first place where it is none."""
    try:
        document = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise _no(file, str(error)) from error
    check(document, where=str(file))
    found: dict[str, Any] = document
    return found


def write(file: Path, document: Mapping[str, Any]) -> None:
    """Write what `read` would take, and nothing else."""
    check(document, where="what was measured")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, dict(document))


def check(document: Any, *, where: str) -> None:
    """Raise `ArtefactError` unless `document` has the form of a file of speeds, with seconds that can be."""
    _check(document, _FORM, where, "")
    if document["format"] != FORMAT or document["format_version"] != VERSION:
        raise _no(where, f"its format is {document['format']} {document['format_version']}, not {FORMAT} {VERSION}")
    for name, found in document["subjects"].items():
        rounds = found["rounds"]
        if len(rounds) != document["setting"]["rounds"]:
            raise _no(where, f"{name} has {len(rounds)} rounds of {document['setting']['rounds']}")
        if not all(seconds > 0 for turn in [*rounds, *found["default_allocator"]] for seconds in turn.values()):
            raise _no(where, f"{name} has rounds of no seconds")
        memory = found["memory"]
        if memory is not None and not memory["floor_bytes"] > 0:
            raise _no(where, f"the libraries of {name} take no memory")
        if found["goal"]["part"] is not None and not found["parts"]:
            raise _no(where, f"{name} has a goal of its parts, and none was measured")


def _check(value: Any, form: Any, where: str, at: str) -> None:
    if isinstance(form, tuple):
        if value is not None:
            _check(value, form[1], where, at)
    elif isinstance(form, list):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise _no(where, f"{at} is {value!r}, not a list")
        for number, each in enumerate(value):
            _check(each, form[0], where, f"{at}[{number}]")
    elif isinstance(form, dict):
        if not isinstance(value, Mapping):
            raise _no(where, f"{at or 'it'} is {value!r}, not a mapping")
        if str in form:
            form = dict.fromkeys(value, form[str])
        if value.keys() != form.keys():
            raise _no(where, f"{at or 'it'} holds {sorted(value)}, not {sorted(form)}")
        for name, each in value.items():
            _check(each, form[name], where, f"{at}.{name}".lstrip("."))
    else:
        kinds = (int, float) if form is float else form
        # A truth is a number to Python, and none here.
        if not isinstance(value, kinds) or (isinstance(value, bool) and form not in {bool, object}):
            raise _no(where, f"{at} is {value!r}, not {form.__name__}")


def _no(where: Path | str, why: str) -> ArtefactError:
    return ArtefactError(f"{where} is no file of speeds: {why}", hint="make it with `python -m benchmarks --out FILE`")
