"""Tables inside a suite file: the baseline of its corruption errors, and the shifted test set that it reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fredbench.corruptions import KNOWN
from fredbench.datasets.shifted_set import ShiftedSet
from fredbench.foundation.config import built, parse_value
from fredbench.foundation.errors import UnknownNameError, UsageError

__all__ = ["Baseline", "baseline_from", "shift_from"]


@dataclass(frozen=True)
class Baseline:
    """The network that corruption errors are taken relative to; a suite file's `[baseline]` table.

    network, training, provenance: what it is, how it was trained, and by whom or what it was measured. students: how
    many networks the errors are means of. test, source, suite: fingerprint of the clean test split they were measured
    on, whether its corrupted pictures were generated, published ones or a user's, and what the suite was called as
    built (empty in files older than the key, for any); they hold for no other pictures. clean, errors: in percent;
    `errors` has five values a corruption, severities 1 to 5.
    """

    name: str
    network: str
    training: str
    provenance: str
    test: str
    clean: float
    students: int = 1
    source: Literal["generated", "official", "user"] = "generated"
    suite: str = ""
    errors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What a reader of numbers relative to it must know, without the errors themselves."""
        return {
            "name": self.name, "network": self.network, "training": self.training, "provenance": self.provenance,
            "students": self.students, "clean_error": self.clean, "source": self.source, "suite": self.suite,
        }  # fmt: skip


def baseline_from(values: Any, *, where: str) -> Baseline:
    """The baseline that a suite file's table describes; whatever is missing or cannot be meant is a `UsageError`."""
    plain = _table(values, where=where)
    table = plain.pop("errors", None)
    baseline = built(Baseline, plain, where=where)
    if not isinstance(table, Mapping) or not table:
        raise UsageError(f"{where} lacks errors", hint="five errors in percent for each corruption, severities 1 to 5")
    errors = {}
    for name, value in table.items():
        if name not in KNOWN:
            raise UnknownNameError(f"corruption of {where}:", name, KNOWN)
        errors[name] = parse_value(value, tuple[float, ...], where=f"{where}: errors of {name}")
    for name, found in {**errors, "clean": (baseline.clean,) * 5}.items():
        if len(found) != 5 or not all(0 <= value <= 100 for value in found):
            raise UsageError(f"{where} has errors {found} of {name}", hint="five errors in percent, 0 to 100")
    return dataclasses.replace(baseline, errors=errors)


def shift_from(values: Any, *, where: str) -> ShiftedSet:
    """The shifted set that a suite file's table describes."""
    shift = built(ShiftedSet, _table(values, where=where), where=where)
    if not shift.versions or len(shift.versions) != len(shift.pictures) or not shift.folders:
        raise UsageError(
            f"{where} needs folders, versions and as many picture counts", hint="see `suite show cifar101`"
        )
    return shift


def _table(values: Any, *, where: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise UsageError(f"{where} is not a table of keys", hint="see `fredbench suite show digitsc`")
    return dict(values)
