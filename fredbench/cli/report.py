"""`fredbench report`: one self-contained HTML page."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from fredbench.cli.corrupt_eval import finished_runs
from fredbench.cli.options import attack_options, data_options, device_option, examples, store_option
from fredbench.datasets import Dataset, data_root, load_dataset
from fredbench.evaluation.attacked import told_radius
from fredbench.evaluation.rows import Row
from fredbench.evaluation.scoring import Protocol
from fredbench.evaluation.spectra import Spectrum, spectrum_of_pixels
from fredbench.evaluation.threats import parse_epsilon
from fredbench.execution.api import evaluate
from fredbench.execution.inline import GridRun
from fredbench.foundation.device import resolve_device, use_threads
from fredbench.foundation.environment import environment
from fredbench.foundation.errors import ArtefactError, FredbenchError, UsageError
from fredbench.foundation.progress import say
from fredbench.recipes.reproducing import distill_command
from fredbench.report.figures import distinct_labels
from fredbench.report.html import Section, write_sections
from fredbench.runs.preprocessing import FOLDER as FITS
from fredbench.runs.sources import dataset_of
from fredbench.runs.store import RunFolder, Store
from fredbench.runs.synset import load
from fredbench.suites.corruption import CorruptionSuite, suite_named, usual_suite
from fredbench.suites.grids import grid_named
from fredbench.suites.reading import kind_of, names_of

__all__ = ["command"]


@dataclass
class _Part:
    """The runs that share one table; `named` when one was asked for by its own name, `scoring` as a grid has it."""

    suite: CorruptionSuite
    runs: list[RunFolder] = field(default_factory=list)
    named: bool = False
    scoring: Mapping[str, Any] = field(default_factory=dict)


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
@attack_options
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
    """Write one self-contained page on RUNs, on the runs of a SUITE's dataset or a grid, or on every finished run.

    A run that cannot be used is left out by name and said, unless it was asked for by its own name.

    Tables, what they say, a profile, calibration, power spectra, pictures, charts, budget, environment, commands.
    Scores that are in the store already, with the same --limit, --severity and --students, are not made again. Prints
    the page's path.
    """
    asked = _Asked(Store(store), data, offline, device, threads, scoring)
    page = _Page()
    for part in _parts(asked, what):
        page.add(asked, part)
    if not page.sections:
        raise UsageError(
            f"nothing to report: {'; '.join(page.left_out)}", hint="mend or name other runs: fredbench list runs"
        )
    write_sections(
        out,
        title=title or "; ".join(section.title for section in page.sections),
        sections=page.sections,
        environment=environment(str(resolve_device(device)), use_threads(threads)),
        commands=[*page.commands, _own_command(what, out, scoring), *(f"# left out: {why}" for why in page.left_out)],
    )
    click.echo(str(out))


@dataclass(frozen=True)
class _Asked:
    """What is the same for every part: where things lie, and how they are scored."""

    store: Store
    data: Path | None
    offline: bool
    device: str
    threads: int | None
    scoring: Mapping[str, Any]

    def rows(self, part: _Part, runs: list[RunFolder], dataset: Dataset) -> list[Row]:
        """Rows of `runs`, scored as asked, else as the part's grid does."""
        scoring = {**part.scoring, **{key: value for key, value in self.scoring.items() if value not in (None, ())}}
        return evaluate(
            runs,
            suite=part.suite,
            store=self.store.root,
            data=self.data,
            offline=self.offline,
            device=self.device,
            threads=self.threads,
            dataset=dataset,
            calibration=True,
            **scoring,
        )


@dataclass
class _Page:
    """Sections and commands as they come, what was left out with the reason, and real pictures' spectra by dataset."""

    sections: list[Section] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    spectra: dict[str, Spectrum] = field(default_factory=dict)

    def add(self, asked: _Asked, part: _Part) -> None:
        """A part with all its usable runs; those that fail alone are left out, unless they were asked for by name."""
        try:
            self._add(asked, part, part.runs)
        except FredbenchError as error:
            if part.named:
                raise
            usable = [run for run in part.runs if len(part.runs) > 1 and self._works(asked, part, run)]
            if len(part.runs) == 1:
                self._leave_out(part.runs[0], error)
            elif usable:
                self._add(asked, part, usable)

    def _works(self, asked: _Asked, part: _Part, run: RunFolder) -> bool:
        try:
            asked.rows(part, [run], dataset_of(run, data=asked.data, offline=asked.offline))
        except FredbenchError as error:
            self._leave_out(run, error)
            return False
        return True

    def _leave_out(self, run: RunFolder, error: FredbenchError) -> None:
        why = f"{run.path.name}: {error.message}"
        self.left_out.append(why)
        say(f"note: left out {why}" + (f" ({error.hint})" if error.hint else ""))

    def _add(self, asked: _Asked, part: _Part, runs: list[RunFolder]) -> None:
        suite = part.suite
        dataset = dataset_of(runs[0], data=asked.data, offline=asked.offline)
        rows = asked.rows(part, runs, dataset)
        synsets = {label: load(row.run) for label, row in zip(distinct_labels(rows), rows, strict=True)}
        for synset, row in zip(synsets.values(), rows, strict=True):
            synset.fit_to(dataset, fits=Path(row.run).parent / FITS, others=synsets.values())
        if dataset.name not in self.spectra:
            self.spectra[dataset.name] = spectrum_of_pixels(dataset.train.images)
        real = self.spectra[dataset.name]
        severities = tuple(sorted(set(asked.scoring["severities"] or part.scoring.get("severities", ()))))
        severities = severities or suite.severities
        if suite.corruptions or suite.shift:
            # Named as it was built: a suite on smaller pictures than the published set's says so.
            suite = suite.named_from(rows[0].suite.removeprefix(suite.name))
            severities = severities if suite.corruptions else ()
            self.sections.append(Section(suite.title, rows, severities, suite, synsets, real))
        else:
            self.sections.append(Section(suite.title, rows, (), None, synsets, real))
        self.commands += [distill_command(run.spec(), dataset) for run in runs]


def _parts(asked: _Asked, what: Sequence[str]) -> list[_Part]:
    """The runs asked for, one part a suite (runs of a dataset without a suite: clean test pictures only)."""
    parts: dict[str, _Part] = {}
    for part in itertools.chain.from_iterable(_named(asked, name) for name in what) if what else _default(asked.store):
        chosen = parts.setdefault(f"{part.suite.name} of {part.suite.dataset} {part.scoring}", part)
        chosen.runs += [run for run in part.runs if run not in chosen.runs]
        chosen.named = chosen.named or part.named
    return list(parts.values())


def _named(asked: _Asked, name: str) -> Iterator[_Part]:
    """The parts that `name` stands for: a grid's datasets, a suite, or a run."""
    if name in names_of("corruptions", "grid") or name.endswith(".toml"):
        if kind_of(name) == "grid":
            yield from _grid_parts(asked, name)
        else:
            suite = suite_named(name)
            yield _Part(suite, finished_runs(asked.store, suite))
    else:
        yield _part_of(asked.store.find(name), named=True)


def _part_of(run: RunFolder, *, named: bool = False) -> _Part:
    return _Part(usual_suite(run.spec().dataset), [run], named=named)


def _grid_parts(asked: _Asked, name: str) -> Iterator[_Part]:
    """The finished cells of a grid, a part a dataset, scored as the grid scores them."""
    grid, found = grid_named(name), False
    for place in grid.places:
        suite = suite_named(place.scored_on)
        if not asked.store.finished(suite.dataset):
            continue
        dataset = load_dataset(place.name, root=asked.data, offline=asked.offline)
        threads, device = use_threads(asked.threads), resolve_device(asked.device)
        cells = GridRun(grid, place, dataset, asked.store, device, threads, data_root(asked.data)).planned()
        runs: dict[tuple[int | None, Protocol], list[RunFolder]] = {}
        for cell in cells:
            if cell.folder is not None and cell.folder.finished:
                for protocol in cell.cell.protocols:
                    runs.setdefault((cell.cell.students, protocol), []).append(cell.folder)
        scored = {"limit": place.limit, "corrupted_limit": place.corrupted_limit, "severities": place.severities}
        for (students, protocol), group in runs.items():
            found = True
            scoring = {**scored, "students": students, "protocol": None if protocol == "own" else protocol}
            yield _Part(suite, group, scoring={key: value for key, value in scoring.items() if value})
    if not found:
        raise UsageError(
            f"no finished run of the grid {name} in {asked.store.root}", hint=f"make them: fredbench suite run {name}"
        )


def _default(store: Store) -> list[_Part]:
    """Every finished run; starts and controls of a dataset alone only where there is nothing else of it."""
    finished = [run for run in store.runs() if run.finished and _readable(run)]
    if not finished:
        raise UsageError(
            f"no finished run in {store.root}", hint="make one: fredbench distill digits --ipc 1 --preset quick"
        )
    shown = [run for run in finished if run.spec().iterations or run.spec().is_imported]
    datasets = {run.spec().dataset for run in shown}
    return [_part_of(run) for run in finished if run in shown or run.spec().dataset not in datasets]


def _readable(run: RunFolder) -> bool:
    try:
        run.spec()
    except ArtefactError as error:
        say(f"note: left out {run.path.name}: {error.message}")
        return False
    return True


def _own_command(what: Sequence[str], out: Path, scoring: Mapping[str, Any]) -> str:
    words = ["fredbench", "report", *(Path(name).name if Path(name).is_dir() else name for name in what)]
    for severity in scoring["severities"]:
        words += ["--severity", str(severity)]
    for key in ("limit", "students", "attack_limit"):
        if scoring[key] is not None:
            words += [f"--{key.replace('_', '-')}", str(scoring[key])]
    for name in scoring["attacks"]:
        words += ["--attack", name]
    for epsilon in scoring["epsilons"]:
        told = told_radius("linf", epsilon)
        words += ["--epsilon", told if parse_epsilon(told) == epsilon else repr(epsilon)]
    return shlex.join([*words, "--out", out.name])
