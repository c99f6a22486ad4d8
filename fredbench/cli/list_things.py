"""`fredbench list`: what there is, one line each. Imports only what the kind asked for needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from fredbench.cli.options import examples, format_option, store_option
from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.foundation.progress import Progress, say
from fredbench.foundation.registry import Registry
from fredbench.report.simple import simple_table

__all__ = ["command"]

_Table = tuple[Sequence[str], list[Sequence[Any]]]


def _registered(registry: Registry[Any]) -> list[Sequence[Any]]:
    return [(name, registry.summary(name)) for name in registry]


def _datasets(store: Path) -> _Table:
    from fredbench.datasets import DATASETS, PREFIXES

    prefixes = [(f"{name}:PATH", PREFIXES.summary(name)) for name in PREFIXES]
    return ("dataset", "what"), [*_registered(DATASETS), *prefixes]


def _methods(store: Path) -> _Table:
    from fredbench.recipes.methods import METHODS

    lines = [
        (m.name, m.objective, m.parameterization, m.paper, m.verified, "; ".join(m.notes())) for m in METHODS.values()
    ]
    return ("method", "objective", "parameterization", "published", "checked", "note"), list(lines)


def _objectives(store: Path) -> _Table:
    from fredbench.objectives import OBJECTIVES

    return ("objective", "what"), _registered(OBJECTIVES)


def _parameterizations(store: Path) -> _Table:
    from fredbench.parameterizations import PARAMETERIZATIONS

    return ("parameterization", "what"), _registered(PARAMETERIZATIONS)


def _networks(store: Path) -> _Table:
    from fredbench.networks import NETWORKS

    return ("network", "what"), _registered(NETWORKS)


def _corruptions(store: Path) -> _Table:
    from fredbench.corruptions import ALL, EXTRAS, KNOWN, STOCHASTIC

    kinds = {name: "held out" if name in EXTRAS else "common" if name in ALL else "C-bar" for name in KNOWN}
    lines = [(name, kind, "draws" if name in STOCHASTIC else "fixed") for name, kind in kinds.items()]
    return ("corruption", "kind", "randomness"), list(lines)


def _sequences(store: Path) -> _Table:
    from fredbench.corruptions import SEQUENCES

    lines = [(kind.name, kind.frames, kind.reference, kind.what) for kind in SEQUENCES.values()]
    return ("perturbation", "frames", "compared with", "what"), list(lines)


def _attacks(store: Path) -> _Table:
    from fredbench.evaluation.attacked import told_radius
    from fredbench.evaluation.threats import ATTACKS

    lines = [
        (a.name, a.title, {"linf": "L∞", "l2": "L2"}[a.norm], ", ".join(told_radius(a.norm, e) for e in a.epsilons))
        for a in ATTACKS.values()
    ]
    return ("attack", "what", "norm", "radii"), list(lines)


def _suites(store: Path) -> _Table:
    from fredbench.cli.suite import SUITE_HEAD, suite_lines

    return SUITE_HEAD, suite_lines()


def _runs(store: Path) -> _Table:
    from fredbench.runs.store import Store

    head = ("run", "dataset", "method", "objective", "parameterization", "ipc", "iterations", "preset", "seed", "state")
    lines: list[Sequence[Any]] = []
    for run in Store(store).runs():
        try:
            spec = run.spec()
        except ArtefactError:
            lines.append((run.path.name, *[""] * 8, "unreadable"))
            continue
        state = "finished" if run.finished else "unfinished"
        lines.append(
            (run.path.name, spec.dataset, spec.method, spec.objective, spec.parameterization, spec.ipc,
             spec.iterations, spec.preset, spec.seed, state)
        )  # fmt: skip
    return head, lines


_KINDS: dict[str, Callable[[Path], _Table]] = {
    "datasets": _datasets,
    "methods": _methods,
    "objectives": _objectives,
    "parameterizations": _parameterizations,
    "networks": _networks,
    "corruptions": _corruptions,
    "sequences": _sequences,
    "attacks": _attacks,
    "suites": _suites,
    "runs": _runs,
}


def _fitting(size: int, channels: int, millions: float) -> _Table:
    """Networks that are tried on pictures of `size` px: with their parameters, and `yes` or what keeps them from it."""
    from fredbench.networks.base import Signature
    from fredbench.networks.fitting import TOO_LARGE, candidates, fit_of

    signature = Signature(channels, 10, (size, size))
    say(f"trying networks of at most {millions:g} M parameters on {signature} pictures: about ten minutes for timm's")
    names = candidates()
    lines: list[Sequence[Any]] = []
    with Progress("trying networks", len(names)) as progress:
        for name in names:
            lines.append(fit_of(name, int(millions * 1e6), signature))
            progress.advance(note=name)
    taken = [line for line in lines if line[-1] != TOO_LARGE]
    say(f"{sum(line[-1] == 'yes' for line in taken)} of {len(taken)} take them; {len(lines) - len(taken)} are larger")
    return ("network", "parameters", f"takes {size} px"), taken


@click.command("list", epilog=examples("fredbench list methods", "fredbench list networks --fits 32 --most 5"))
@click.argument("kind", metavar="|".join(_KINDS), type=click.Choice(list(_KINDS)))
@click.option(
    "--fits",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Of networks: try each, timm's too, on pictures of this side, and say which take them; about ten minutes.",
)
@click.option("--channels", type=click.IntRange(min=1), default=3, show_default=True, help="Of those pictures.")
@click.option(
    "--most",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="MILLIONS",
    help="Try networks of at most so many million parameters.",
)
@format_option
@store_option
def command(kind: str, fits: int | None, channels: int, most: float, form: str, store: Path) -> None:
    """Say what there is of a kind, one line each."""
    if fits is not None and kind != "networks":
        raise UsageError(f"--fits is of networks, not of {kind}", hint="fredbench list networks --fits 32")
    head, lines = _KINDS[kind](store) if fits is None else _fitting(fits, channels, most)
    if not lines:
        say(f"no runs in {store}" if kind == "runs" else f"no {kind}")
    click.echo(simple_table(head, lines, form))
