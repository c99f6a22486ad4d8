"""`fredbench report`: one self-contained HTML page."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from fredbench.cli.corrupt_eval import finished_runs
from fredbench.cli.options import data_options, device_option, examples, store_option
from fredbench.datasets import load_dataset
from fredbench.execution.api import evaluate
from fredbench.foundation.device import resolve_device, use_threads
from fredbench.foundation.environment import environment
from fredbench.foundation.errors import UsageError
from fredbench.recipes.reproducing import distill_command
from fredbench.report.figures import distinct_labels
from fredbench.report.html import Section, write_sections
from fredbench.runs.store import RunFolder, Store
from fredbench.runs.synset import load
from fredbench.suites.corruption import CorruptionSuite, suite_named, suite_names

__all__ = ["command"]


@dataclass
class _Part:
    """The runs that share one table."""

    suite: CorruptionSuite
    runs: list[RunFolder] = field(default_factory=list)


@click.command(
    "report",
    epilog=examples(
        "fredbench report --out report.html",
        "fredbench report cifar10c --limit 1000 --out cifar10c.html",
    ),
)
@click.argument("what", metavar="[RUN | SUITE]...", nargs=-1)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page to write, replaced if there.",
)
@click.option("--title", help="Title of the page.  [default: after its suites]")
@click.option("--severity", "severities", type=int, multiple=True, help="Severity 1 to 5 (repeatable).")
@click.option("--limit", type=int, help="Score that many evenly spaced test pictures.")
@click.option("--students", type=int, help="Students a set.  [default: the run's own number]")
@device_option
@store_option
@data_options
def command(
    what: tuple[str, ...],
    out: Path,
    title: str | None,
    device: str,
    threads: int | None,
    store: Path,
    data: Path | None,
    offline: bool,
    **scoring: Any,
) -> None:
    """Write one self-contained page on RUNs, on the runs of a SUITE's dataset, or on every finished run.

    Tables, what they say, pictures, charts, budget, environment, commands. Scores that are in the store already,
    with the same --limit, --severity and --students, are not made again. Prints the page's path.
    """
    sections, commands = [], []
    for part in _parts(Store(store), what):
        suite = part.suite
        dataset = load_dataset(suite.dataset, root=data, offline=offline)
        rows = evaluate(
            part.runs, suite=suite, store=store, data=data, device=device, threads=threads, dataset=dataset, **scoring
        )
        synsets = {label: load(row.run) for label, row in zip(distinct_labels(rows), rows, strict=True)}
        severities = tuple(sorted(set(scoring["severities"]))) or suite.severities
        if suite.corruptions or suite.shift:
            # Named as it was built: a suite on smaller pictures than the published set's says so.
            suite = suite.named_from(rows[0].suite.removeprefix(suite.name))
            severities = severities if suite.corruptions else ()
            sections.append(Section(suite.title, rows, severities, suite, synsets))
        else:
            sections.append(Section(suite.title, rows, (), None, synsets))
        commands += [distill_command(run.spec(), dataset) for run in part.runs]
    write_sections(
        out,
        title=title or "; ".join(section.title for section in sections),
        sections=sections,
        environment=environment(str(resolve_device(device)), use_threads(threads)),
        commands=[*commands, _own_command(what, out, scoring)],
    )
    click.echo(str(out))


def _parts(store: Store, what: Sequence[str]) -> list[_Part]:
    """The runs asked for, one part a suite (runs of a dataset without a suite: clean test pictures only)."""
    parts: dict[str, _Part] = {}
    for name in what or _default(store):
        if name in suite_names() or name.endswith(".toml"):
            suite = suite_named(name)
            runs = finished_runs(store, suite)
        else:
            runs = [store.find(name)]
            suite = _suite_of(runs[0].spec().dataset)
        chosen = parts.setdefault(f"{suite.name} of {suite.dataset}", _Part(suite)).runs
        chosen += [run for run in runs if run not in chosen]
    return list(parts.values())


def _default(store: Store) -> list[str]:
    """Every finished run; starts and controls alone only where there is nothing else."""
    finished = [run for run in store.runs() if run.finished]
    if not finished:
        raise UsageError(
            f"no finished run in {store.root}", hint="make one: fredbench distill digits --ipc 1 --preset quick"
        )
    return [str(run.path) for run in finished if run.spec().iterations] or [str(run.path) for run in finished]


def _suite_of(dataset: str) -> CorruptionSuite:
    """The shipped suite of a dataset's corruptions; one without any where there is none."""
    for suite in map(suite_named, suite_names()):
        if suite.dataset == dataset and suite.corruptions:
            return suite
    return dataclasses.replace(CorruptionSuite.clean_only(dataset), title=f"{dataset}, clean test pictures")


def _own_command(what: Sequence[str], out: Path, scoring: Mapping[str, Any]) -> str:
    words = ["fredbench", "report", *(Path(name).name if Path(name).is_dir() else name for name in what)]
    for severity in scoring["severities"]:
        words += ["--severity", str(severity)]
    for key in ("limit", "students"):
        if scoring[key] is not None:
            words += [f"--{key}", str(scoring[key])]
    return shlex.join([*words, "--out", out.name])
