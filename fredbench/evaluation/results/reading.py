"""JSON that others wrote, read without trust, and the rows in it as `Row`s."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fredbench.evaluation.comparison import Comparison
from fredbench.evaluation.rows import Calibration, Compared, CorruptionScore, Reliability, Row
from fredbench.evaluation.statistics import Sample
from fredbench.foundation.errors import ArtefactError

__all__ = ["protocol_of", "read_document", "row_of"]

_MOST_BYTES = 64 * 2**20
_HINT = "fetch it anew, or make it again: fredbench submit RUN --out FILE.json"
_UNCHANGED = (
    "run", "dataset", "method", "objective", "parameterization", "iterations", "ipc", "seed", "params", "params_strict",
    "decoded", "students", "network", "recipe", "control", "start", "protocol", "source", "limit", "partial",
)  # fmt: skip
_OPTIONAL = (
    "suite", "framing", "published", "baseline", "no_baseline", "corrupted_limit", "train_labels", "own_labels",
    "augmentation", "teacher",
)  # fmt: skip


def read_document(path: Path) -> Any:
    """The JSON in `path`: at most 64 MiB, each key once, finite numbers; anything else is an `ArtefactError`."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ArtefactError(f"{path} is larger than {_MOST_BYTES >> 20} MiB: no result file", hint=_HINT)
        return json.loads(
            path.read_text("utf-8"), object_pairs_hook=_each_once, parse_constant=_not_finite, parse_float=_finite,
            parse_int=_whole,
        )  # fmt: skip
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactError(f"{path} cannot be read as JSON: {error}", hint=_HINT) from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def _not_finite(text: str) -> float:
    raise ValueError(f"{text:.40} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _not_finite(text)


def _whole(text: str) -> int:
    """Arithmetic with floats raises for whole numbers beyond theirs."""
    _finite(text)
    return int(text)


def protocol_of(row: Mapping[str, Any]) -> str:
    """How students were trained, in words: what they were told, by which teacher, whether pictures were augmented."""
    labels, augmentation = row.get("train_labels", "own"), row.get("augmentation", "own")
    teacher = row.get("teacher") or {}
    by = f" by {teacher['network']} ({teacher['digest'][:8]})" if labels == "relabelled" and teacher else ""
    words = [row["protocol"], *([] if labels == "own" else [f"{labels} labels{by}"])]
    return ", ".join([*words, *([] if augmentation == "own" else [f"augmentation {augmentation}"])])


def row_of(plain: Mapping[str, Any]) -> Row:
    """The inverse of `Row.to_mapping` for a mapping that keeps `row` of the schema; choices among checkpoints are not
    read, nor is what a later version may have added.
    """
    values: dict[str, Any] = {name: plain[name] for name in _UNCHANGED}
    values |= {name: plain[name] for name in _OPTIONAL if plain.get(name) is not None}
    values |= {name: _sample(plain[name]) for name in ("average", "mce", "relative_mce") if plain.get(name)}
    for name in ("domains", "networks"):
        values[name] = {key: _sample(found) for key, found in plain.get(name, {}).items()}
    return Row(
        **values,
        preset=plain["scale"],
        clean=_sample(plain["clean"]),
        corruptions={name: _corruption(found) for name, found in plain.get("corruptions", {}).items()},
        calibration={name: _calibration(found) for name, found in plain.get("calibration", {}).items()},
        assumed=tuple(plain.get("assumed", ())),
        compared=tuple(map(_compared, plain.get("compared", ()))),
    )


def _calibration(plain: Mapping[str, Any]) -> Calibration:
    # Files of earlier versions lack the later measures.
    adaptive, aurc, brier = (_sample(plain[k]) if k in plain else None for k in ("adaptive_ece", "aurc", "brier"))
    bins = plain.get("reliability")
    reliability = bins and Reliability(
        tuple(bins["pictures"]),
        *(tuple(None if v is None else float(v) for v in bins[key]) for key in ("confidence", "accuracy")),
    )
    return Calibration(_sample(plain["nll"]), _sample(plain["ece"]), adaptive, aurc, brier, reliability)


def _compared(plain: Mapping[str, Any]) -> Compared:
    numbers = {name: None if plain[name] is None else float(plain[name]) for name in ("error", "df", "p", "effect")}
    ours, theirs = plain["units"]
    found = Comparison(float(plain["difference"]), plain["model"], (ours, theirs), plain["pictures"], **numbers)
    return Compared(plain["to"], plain["network"], plain["on"], found)


def _sample(plain: Mapping[str, Any]) -> Sample:
    std = plain["std"]
    return Sample(float(plain["mean"]), None if std is None else float(std), plain["n"], _floats(plain.get("values")))


def _corruption(plain: Mapping[str, Any]) -> CorruptionScore:
    errors = {name: None if plain.get(name) is None else float(plain[name]) for name in ("ce", "relative_ce")}
    by_student = tuple(map(_floats, plain.get("by_student", ())))
    return CorruptionScore(_sample(plain), _floats(plain["by_severity"]), **errors, by_student=by_student)


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(map(float, values or ()))
