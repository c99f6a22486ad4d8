"""The pages' templates, filled in: all text is escaped, what a template names must be given."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2

import fredbench

__all__ = ["filled", "flat"]


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("fredbench", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )


def filled(template: str, **values: Any) -> str:
    """The page that `template` makes of `values`."""
    return _environment().get_template(template).render(version=fredbench.__version__, **values)


def flat(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Key and value pairs; a mapping inside becomes one line."""
    pairs = []
    for key, value in environment.items():
        if isinstance(value, Mapping):
            text = ", ".join(f"{name} {inner}" for name, inner in value.items())
        else:
            text = "unknown" if value is None else str(value)
        pairs.append((key.replace("_", " "), text))
    return pairs
