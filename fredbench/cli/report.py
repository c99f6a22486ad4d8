"""`fredbench report`: one self-contained HTML page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from fredbench.cli.corrupt_eval import chosen_entrants
from fredbench.cli.options import data_options, device_option, examples, store_option
from fredbench.datasets import data_root, load_dataset
from fredbench.device import resolve_device, use_threads
from fredbench.domains import TestDomains
from fredbench.environment import environment
from fredbench.errors import UsageError
from fredbench.evaluation import Entrant, Evaluation, with_companions
from fredbench.report.figures import distinct_labels
from fredbench.report.html import Section, write_sections
from fredbench.reproducing import distill_command
from fredbench.store import Store
from fredbench.suites import CorruptionSuite, suite_named, suite_names

__all__ = ["command"]


@dataclass
class _Part:
    """The runs that share one table."""

    suite: CorruptionSuite
    entrants: list[Entrant] = field(default_factory=list)


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
    folders = Store(store)
    parts = _parts(folders, what)
    torch_device, torch_threads = resolve_device(device), use_threads(threads)
    sections, commands = [], []
    for part in parts:
        dataset = load_dataset(part.suite.dataset, root=data, offline=offline)
        domains = TestDomains(
            part.suite,
            dataset,
            severities=tuple(sorted(set(scoring["severities"]))) or part.suite.severities,
            limit=scoring["limit"],
            official=TestDomains.official_folder(part.suite, data_root(data)),
        )
        evaluation = Evaluation(dataset, torch_device, torch_threads, domains, students=scoring["students"])
        entrants = with_companions(part.entrants, folders, dataset)
        rows = evaluation.rows(entrants, domains.names())
        labels = distinct_labels(rows)
        synsets = {label: entrant.synset for label, entrant in zip(labels, entrants, strict=True)}
        clean_only = not part.suite.corruptions
        severities = () if clean_only else domains.severities
        sections.append(Section(part.suite.title, rows, severities, None if clean_only else part.suite, synsets))
        commands += [distill_command(entrant.spec, dataset) for entrant in part.entrants]
    write_sections(
        out,
        title=title or "; ".join(section.title for section in sections),
        sections=sections,
        environment=environment(str(torch_device), torch_threads),
        commands=[*commands, _own_command(what, out, scoring)],
    )
    click.echo(str(out))


def _parts(store: Store, what: Sequence[str]) -> list[_Part]:
    """The runs asked for, one part a suite (runs of a dataset without a suite: clean test pictures only)."""
    parts: dict[str, _Part] = {}
    if not what:
        runs = [str(run.path) for run in store.runs() if run.finished]
        whole = [
            run for run, entrant in ((run, Entrant.of(store.find(run))) for run in runs) if entrant.spec.iterations
        ]
        what = whole or runs
    if not what:
        raise UsageError(
            f"no finished run in {store.root}", hint="make one: fredbench distill digits --ipc 1 --preset quick"
        )
    for name in what:
        if name in suite_names() or name.endswith(".toml"):
            suite = suite_named(name)
            found = chosen_entrants(store, suite, ())
        else:
            found = [Entrant.of(store.find(name))]
            suite = _suite_of(found[0].spec.dataset)
        parts.setdefault(suite.name, _Part(suite)).entrants += found
    return list(parts.values())


def _suite_of(dataset: str) -> CorruptionSuite:
    """The shipped suite of a dataset; one without corruptions where there is none."""
    for suite in map(suite_named, suite_names()):
        if suite.dataset == dataset:
            return suite
    return CorruptionSuite(f"{dataset} clean", f"{dataset}, clean test pictures", dataset, "cifar", ())


def _own_command(what: Sequence[str], out: Path, scoring: dict[str, Any]) -> str:
    words = ["fredbench", "report", *(Path(name).name if Path(name).is_dir() else name for name in what)]
    for severity in scoring["severities"]:
        words += ["--severity", str(severity)]
    for key in ("limit", "students"):
        if scoring[key] is not None:
            words += [f"--{key}", str(scoring[key])]
    return shlex.join([*words, "--out", out.name])
