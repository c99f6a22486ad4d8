"""Options that several commands share, so that they read and behave alike everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from fredbench.corruptions.sequences import sequences_named

# As `parameterizations.budget` has them, which takes torch to load.
BUDGETS = ("params", "strict", "bytes")

__all__ = [
    "FORMATS",
    "attack_options",
    "budget_option",
    "data_options",
    "device_option",
    "examples",
    "format_option",
    "joined",
    "label_option",
    "label_options",
    "made_options",
    "sequence_options",
    "set_option",
    "store_option",
]

FORMATS = ("table", "markdown", "latex", "csv", "json")

_Command = Callable[..., Any]
_Decorator = Callable[[_Command], _Command]


def examples(*lines: str) -> str:
    """The epilogue of a `--help`: runnable examples, one a line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def joined(values: Sequence[Any]) -> str:
    """Values of one cell of a table."""
    return ", ".join(map(str, values))


def data_options(command: _Command) -> _Command:
    """`--data DIR` and `--offline`: where datasets lie and whether missing ones may be fetched."""
    command = click.option(
        "--offline",
        is_flag=True,
        envvar="FREDBENCH_OFFLINE",
        help="Never try the network (also FREDBENCH_OFFLINE=1).",
    )(command)
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="FREDBENCH_DATA",
        default=None,
        help="Folder of datasets, or where a run's folder: lies now (also FREDBENCH_DATA; default: the user's cache).",
    )(command)


def store_option(command: _Command) -> _Command:
    """`--store DIR`: where runs lie, one folder a run."""
    return click.option(
        "--store",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="FREDBENCH_STORE",
        default=Path("runs"),
        show_default=True,
        help="Folder of runs (also FREDBENCH_STORE).",
    )(command)


def format_option(command: _Command) -> _Command:
    """`--format`: how a table is printed; with csv and json stdout parses as such and holds nothing else."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="How to print the table.",
    )(command)


def budget_option(command: _Command) -> _Command:
    """`--budget-by`: which budget a table shows."""
    return click.option(
        "--budget-by",
        type=click.Choice(BUDGETS),
        help="The one budget to show: scalars, scalars with everything counted, or bytes.  [default: both scalars]",
    )(command)


def _together(*options: _Decorator) -> _Decorator:
    """Several options as one, in the order in which `--help` shows them."""

    def decorated(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def _label_options(*, several: bool) -> _Decorator:
    again, default = (" (repeatable: rows side by side)", None) if several else ("", "own")
    return _together(
        click.option(
            "--train-labels", type=click.Choice(["own", "hard", "relabelled"]), multiple=several, default=default,
            help=f"Students' labels: the set's own, hard, a teacher's{again}.  [default: own]",
        ),
        click.option(
            "--augmentation", type=click.Choice(["own", "none"]), multiple=several, default=default,
            help=f"Of students: the recipe's own, or none{again}.  [default: own]",
        ),
        click.option(
            "--teacher", metavar="NETWORK",
            help="Who relabels: a network trained on the real pictures, once a store.  [default: the first run's own]",
        ),
        click.option("--teacher-epochs", type=int, default=20, show_default=True, help="Epochs of the teacher."),
    )  # fmt: skip


label_options = _label_options(several=True)
"""What students are told of the pictures and how these are shown; all four go to `evaluate` as they are."""

label_option = _label_options(several=False)
"""The same where there is one row: one value each."""


def made_options(what: str, drawn: str) -> _Decorator:
    """Where `what` is written to or one picture is drawn, `drawn` in words, and of which pictures."""
    return _together(
        click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=f"Folder to write {what} to."),
        click.option(
            "--preview", "sheet", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png",
            help=f"Draw one picture {drawn} instead.",
        ),
        click.option(
            "--picture", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the one to draw."
        ),
        click.option("--limit", type=click.IntRange(min=1), help="Only so many pictures, evenly spaced."),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw."),
    )  # fmt: skip


def _sequences(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> tuple[str, ...]:
    return sequences_named(given)


def _radii(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> tuple[float, ...]:
    from fredbench.evaluation.threats import parse_epsilon

    return tuple(parse_epsilon(text) for text in given)


attack_options = _together(
    click.option(
        "--attack", "attacks", multiple=True, metavar="NAME",
        help="Attack the students with it, in picture space (repeatable; see `fredbench list attacks`).",
    ),
    click.option(
        "--epsilon", "epsilons", multiple=True, callback=_radii, metavar="8/255",
        help="Radius in picture space, of the range 0 to 1 (repeatable).  [default: up to 8/255; l2: up to .5]",
    ),
    click.option("--attack-limit", type=int, help="Attack that many evenly spaced test pictures.  [default: --limit]"),
)  # fmt: skip
"""Adversarial attacks; all three go to `evaluate` as they are."""

sequence_options = _together(
    click.option(
        "--sequence", "sequences", multiple=True, callback=_sequences, metavar="NAME|all",
        help="Do predictions flip along it? (repeatable; see `fredbench list sequences`)",
    ),
    click.option("--sequence-limit", type=int, help="Of that many evenly spaced test pictures.  [default: --limit]"),
)  # fmt: skip
"""Perturbation sequences; both go to `evaluate` as they are."""


def device_option(command: _Command) -> _Command:
    """`--device auto|cpu|cuda[:i]` and `--threads N`."""
    command = click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=None,
        help="CPU threads; part of the spec, since results are bit-equal at equal thread count only.",
    )(command)
    return click.option(
        "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where to compute."
    )(command)


def set_option(command: _Command) -> _Command:
    """`--set KEY=VALUE`, repeatable: override one setting of the recipe."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override one setting, such as parameterization.k=64 or student.epochs=300 (repeatable).",
    )(command)
