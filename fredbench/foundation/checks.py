"""A claim held against what was found: what every verification is a list of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Check", "equal"]


@dataclass(frozen=True)
class Check:
    """One claim: what was looked at, what is claimed, what was found; `holds` is None where it cannot be looked at."""

    what: str
    claimed: str
    found: str
    holds: bool | None


def equal(what: str, claimed: Any, found: Any) -> Check:
    """The check that what was found is what is claimed, both shortened for a table."""
    return Check(what, _brief(claimed), _brief(found), claimed == found)


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value.get('params', '?'):,} scalars" if isinstance(value.get("params"), int) else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value[:16]}…" if isinstance(value, str) and len(value) == 64 else str(value)
