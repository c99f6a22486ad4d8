"""The command line that makes a run again, written from its spec."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from fredbench.datasets import Dataset
from fredbench.foundation.config import to_mapping
from fredbench.parameterizations.budget import Budget
from fredbench.recipes.methods import METHODS
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs.preprocessing import DataConfig
from fredbench.runs.spec import Spec

__all__ = ["distill_command", "request_of"]


def distill_command(spec: Spec, dataset: Dataset) -> str:
    """`fredbench distill ...` for `spec`, without folders: where data and runs lie is the reader's business.

    The line is resolved again and compared with the spec; where it cannot say all of it (another version's defaults,
    say), a comment points at the run's own spec.toml. Raises what `resolve` raises for parts that are not registered.
    """
    if spec.is_imported:
        settings = {key: str(value) for key, value in spec.objective_settings.items()}
        space, channels = settings["space"], settings["channels"]
        words = ["fredbench", "import", "FILE", "--dataset", spec.dataset, "--preset", spec.preset]
        words += [] if space == "file's own" else ["--space", space]
        words += [] if channels == "rgb" else ["--channels", channels]
        return f"{shlex.join(words)}  # the file of SHA-256 {settings['sha256'][:16]}"
    request = request_of(spec, dataset)
    words = ["fredbench", "distill", spec.dataset]
    for field in (
        "ipc",
        "params",
        "method",
        "objective",
        "parameterization",
        "preset",
        "seed",
        "iterations",
        "network",
    ):
        value = getattr(request, field)
        if value is not None:
            words += [f"--{field}", str(value)]
    for override in request.overrides:
        words += ["--set", override]
    words += ["--device", spec.device, "--threads", str(spec.threads)]
    again = resolve(request, dataset, device=spec.device, threads=spec.threads)
    return shlex.join(words) + ("" if again.digest() == spec.digest() else "  # not exactly: see the run's spec.toml")


def request_of(spec: Spec, dataset: Dataset) -> Request:
    """The shortest request that resolves to `spec`: only what differs from the recipe's own settings is asked for."""
    whole = Budget.for_ipc(max(1, spec.ipc), len(dataset.classes), (dataset.channels, *dataset.size))
    by_ipc = whole.scalars == spec.budget
    asked = Request(
        ipc=spec.ipc if by_ipc else None,
        params=None if by_ipc else spec.budget,
        preset=spec.preset,
        seed=spec.seed,
    )
    asked = dataclasses.replace(asked, **_parts(spec))
    plain = resolve(asked, dataset, device=spec.device, threads=spec.threads)
    asked = dataclasses.replace(
        asked,
        iterations=None if plain.iterations == spec.iterations else spec.iterations,
        network=None if plain.network == spec.network else spec.network,
    )
    plain = resolve(asked, dataset, device=spec.device, threads=spec.threads)
    return dataclasses.replace(asked, overrides=tuple(_differences(spec.to_mapping(), plain.to_mapping())))


def _parts(spec: Spec) -> dict[str, Any]:
    known = METHODS.get(spec.method) if spec.method in METHODS else None
    if known is None or known.parameterization != spec.parameterization:
        return {"objective": spec.objective, "parameterization": spec.parameterization}
    parts = {"method": spec.method}
    return parts if known.objective == spec.objective else {**parts, "objective": spec.objective}


def _differences(asked: Mapping[str, Any], plain: Mapping[str, Any]) -> list[str]:
    """`SECTION.KEY=VALUE` for every setting of `asked` that `plain` has otherwise."""
    # What is usual, hard labels and plain pictures, has no section of its own.
    usual: dict[str, Any] = {"labels": {"form": "hard"}, "data": to_mapping(DataConfig())}
    own, others = {**usual, **asked}, {**usual, **plain}
    return [
        f"{section}.{key}={_text(value)}"
        for section in ("objective", "parameterization", "labels", "data", "student")
        for key, value in own[section].items()
        if others[section].get(key) != value
    ]


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(_text(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
