"""The library's front door: what `fredbench distill` and the evaluating commands do, as functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from fredbench.corruptions.sequences import sequences_named
from fredbench.datasets import Dataset, data_root, load_dataset
from fredbench.datasets.catalogue import plain_name
from fredbench.evaluation.attacked import Attacks
from fredbench.evaluation.checkpoints import score_checkpoints
from fredbench.evaluation.domains import domains_of
from fredbench.evaluation.entrants import Entrant, with_companions
from fredbench.evaluation.labelling import FOLDER as TEACHERS
from fredbench.evaluation.labelling import AugmentationProtocol, LabelProtocol, Teacher
from fredbench.evaluation.rows import Row
from fredbench.evaluation.scoring import Evaluation, Protocol
from fredbench.evaluation.selection import Selection
from fredbench.evaluation.stability import Sequences
from fredbench.evaluation.threats import attack_named
from fredbench.foundation.device import resolve_device, use_threads
from fredbench.foundation.errors import CompatibilityError, UsageError
from fredbench.networks import canonical_name
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs import distillation
from fredbench.runs.sources import dataset_of
from fredbench.runs.store import RunFolder, Store
from fredbench.suites.corruption import CorruptionSuite, suite_named

__all__ = ["distill", "evaluate"]


def distill(
    dataset: str | Dataset,
    *,
    ipc: int | None = None,
    params: int | None = None,
    method: str | None = None,
    objective: str | None = None,
    parameterization: str | None = None,
    preset: str = "paper",
    seed: int = 0,
    iterations: int | None = None,
    network: str | None = None,
    overrides: Sequence[str] = (),
    store: str | Path = "runs",
    data: str | Path | None = None,
    offline: bool = False,
    device: str = "auto",
    threads: int | None = None,
    name: str | None = None,
    fresh: bool = False,
    checkpoints: int = 0,
) -> RunFolder:
    """Distill `dataset` and return the run's folder; a run that was stopped goes on, a finished one stays as it is.

    dataset: a name (`digits`, `cifar10`, `folder:PATH`, see `fredbench list datasets`) or a `Dataset` in memory.
    ipc, params: the budget, one of the two: pictures a class whose scalars the set may store (`ipc` times classes
    times channels times height times width), or scalars in all.
    method: a published system by name, by default `fred`; or the two parts of one, objective (what is matched) and
    parameterization (what is stored). What none of them names is the method's own.
    preset: how much of the published effort is spent: `paper`, `fair` (one recipe for all) or `quick` (minutes).
    seed: of every draw. iterations: of the outer loop, by default the recipe's; 0 gives the start, what is stored
    before any is done.
    network: to distill with and to score by, by name (`convnet-d3-w128-in`), by default the recipe's.
    overrides: further settings as `SECTION.KEY=VALUE`, the sections being objective, parameterization, labels, data and
    student.
    store: folder of runs, one folder each. name: that of the run's folder, by default made of its spec.
    data: folder of datasets, by default `FREDBENCH_DATA` or the user's cache. offline: never try to fetch one.
    device: `auto`, `cpu` or `cuda[:i]`. threads: of this process's arithmetic, part of what is asked: results are the
    same bits for the same number; by default as many as torch takes.
    fresh: start over, also where there is a finished run of this spec.
    checkpoints: that many synsets are kept along the run, evenly spaced in iterations, the last one being the run's
    own; what the run makes is the same with and without.

    The folder holds the artefact (`fredbench.load(folder.path)`: pictures as float32 (N, C, H, W) in the students'
    input space, normalised; labels int64 (N,) or float (N, classes)), the spec, and what it was made in.

    Raises a `FredbenchError`, whose text says what, where and how to mend: `UsageError` and `UnknownNameError` for what
    cannot be meant, `CompatibilityError` for parts that do not fit, `BudgetError` for a budget that buys nothing,
    `DataError` for a dataset that is missing or broken, `StorageError` where another process holds the run,
    `ArtefactError` for a damaged checkpoint, `ResourceError` where memory ends. Unlike the command it asks nothing
    before a run of days: `fredbench distill` says first what that would cost.

    >>> run = fredbench.distill("digits", ipc=1, preset="quick")    # doctest: +SKIP
    >>> fredbench.load(run.path).images.shape                       # doctest: +SKIP
    torch.Size([40, 3, 32, 32])
    """
    pictures = _dataset(dataset, data, offline)
    torch_device = resolve_device(device)
    request = Request(
        ipc=ipc,
        params=params,
        method=method,
        objective=objective,
        parameterization=parameterization,
        preset=preset,
        seed=seed,
        iterations=iterations,
        network=network,
        overrides=tuple(overrides),
    )
    spec = resolve(request, pictures, device=str(torch_device), threads=use_threads(threads))
    folder = Store(Path(store)).folder_for(spec, name, replace=fresh)
    distillation.run(spec, pictures, folder, fresh=fresh, checkpoints=checkpoints)
    return folder


def evaluate(
    runs: Sequence[str | Path | RunFolder],
    *,
    suite: str | CorruptionSuite | None = None,
    networks: Sequence[str] | None = None,
    students: int | None = None,
    severities: Sequence[int] = (),
    limit: int | None = None,
    corrupted_limit: int | None = None,
    protocol: Protocol = "own",
    calibration: bool = False,
    selection: Selection = "last",
    train_labels: Sequence[LabelProtocol] = ("own",),
    augmentation: Sequence[AugmentationProtocol] = ("own",),
    teacher: str | None = None,
    teacher_epochs: int = 20,
    attacks: Sequence[str] = (),
    epsilons: Sequence[float] = (),
    attack_limit: int | None = None,
    others: Sequence[str | Dataset] = (),
    sequences: Sequence[str] = (),
    sequence_limit: int | None = None,
    store: str | Path = "runs",
    data: str | Path | None = None,
    offline: bool = False,
    device: str = "auto",
    threads: int | None = None,
    dataset: Dataset | None = None,
) -> list[Row]:
    """Rows for `runs`, their starts and controls: clean accuracy and, with a `suite`, its corruptions.

    runs: finished runs of one dataset, as names in the store, paths or folders. Each distilled run's row is followed by
    those of its start (nothing distilled) and of its control (random pictures of the same budget), made where missing.
    suite: the suite that is scored, by name, TOML file or as such; its dataset must be the runs'. Without one, clean.
    networks: test networks by name, by default each run's own. A row's numbers are the first one's; with several,
    `Row.by_network` has those of each and `Row.over_networks` their mean, whose n and spread are of networks.
    students: how many are trained a set and network, by default the run's own number; `Sample.n` is that number.
    severities: 1 to 5, by default the suite's. limit: that many evenly spaced test pictures, in place of all;
    corrupted_limit: the same for corruptions alone, in place of `limit`.
    protocol: `own`, or `fred-literal` as FreD's published corruption script scores.
    calibration: adds negative log-likelihood (nats), expected calibration error with bins of equal width and of equally
    many pictures, the area under the risk-coverage curve (percent) and the Brier score (0 to 2).
    selection: `best-on-test` or `best-on-validation` adds, as `Row.selected`, what the best of the run's checkpoints
    would give on clean test pictures, by their accuracy or by that on the validation pictures; without a suite only.
    All other numbers of a row are of the last iterate whatever is given here.
    train_labels: what students are told: the set's `own` labels, `hard` ones (the class of each picture; of soft labels
    the largest), or `relabelled` by a teacher. augmentation: as the run's recipe has it (`own`), or `none`. Of several
    every combination has a row of its own beside the others, controls and starts likewise.
    teacher: the network that relabels, by default the first run's test network; teacher_epochs: for how long it is
    trained on the real training pictures. It is kept in the store, and `Row.teacher` says what it is.
    attacks: adversarial attacks by name (see `fredbench list attacks`), in picture space, for `Row.attacked`; epsilons:
    their radii as shares of the range of a picture's values, by default each attack's own; attack_limit: on that many
    evenly spaced clean test pictures, by default as `limit`.
    others: datasets, by name or in memory, whose test pictures students are to tell from their own, for `Row.outliers`;
    of the same size and channels, `CompatibilityError` for another.
    sequences: perturbations by name (or `all`), drawn from the suite's seed, for `Row.stability`;
    sequence_limit: of that many evenly spaced clean test pictures, by default as `limit`.
    store, data, offline, device, threads: as of `distill`. dataset: the runs' dataset, where it is at hand already.

    Accuracies of a `Row` are `Sample`s in percent: mean, standard deviation (n - 1) and n over students. What was
    trained and predicted is kept with the runs, so a call that was stopped goes on.

    Raises a `FredbenchError`: `UsageError` for no run, one that is not finished or, with a selection, one that kept no
    checkpoints or no validation pictures; `CompatibilityError` for runs of another dataset than the suite's,
    `UnknownNameError`, `DataError`, `ArtefactError` for a set that was altered.

    >>> rows = fredbench.evaluate([run], suite="digitsc", limit=100)    # doctest: +SKIP
    >>> rows[0].clean.mean > rows[2].clean.mean                         # doctest: +SKIP
    True
    """
    folders = Store(Path(store))
    entrants = [Entrant.of(run if isinstance(run, RunFolder) else folders.find(str(run))) for run in runs]
    if not entrants:
        raise UsageError("no run to evaluate", hint="name one or more, see `fredbench list runs`")
    if selection != "last" and suite is not None:
        raise UsageError("a selection is by clean accuracy, and no suite goes with it", hint="leave one of them out")
    under = _attacks(attacks, epsilons, attack_limit)
    own = entrants[0].spec.dataset
    chosen = suite_named(suite) if isinstance(suite, str) else suite or CorruptionSuite.clean_only(own)
    for entrant in entrants:
        # Suites are of a set under one name; how its pictures are resized is the runs', and the same for all of them.
        if entrant.spec.dataset != own or plain_name(own) != plain_name(chosen.dataset):
            raise CompatibilityError(
                f"{entrant.folder.path} is a set of {entrant.spec.dataset}, {chosen.name} tests {chosen.dataset}",
                hint="choose the suite of the run's dataset, see `fredbench suite list`",
            )
    place = None if data is None else Path(data)
    pictures = dataset or dataset_of(entrants[0].folder, data=place, offline=offline)
    asked = tuple(dict.fromkeys(networks or ()))
    for name in asked:
        _check_network(name, pictures)
    root = data_root(place)
    evaluation = Evaluation(
        dataset=pictures,
        device=resolve_device(device),
        threads=use_threads(threads),
        domains=domains_of(
            chosen,
            pictures,
            root,
            severities=tuple(sorted(set(severities))),
            limit=limit,
            corrupted_limit=corrupted_limit,
        ),
        networks=asked or None,
        students=students,
        protocol=protocol,
        calibration=calibration,
        attacks=under,
        others=_others(others, pictures, data, offline),
        sequences=_sequences(sequences, sequence_limit, chosen.seed),
    )
    teaching = Teacher(
        pictures, folders.root / TEACHERS, teacher or entrants[0].spec.student_network, evaluation.device,
        evaluation.threads, teacher_epochs,
    )  # fmt: skip
    _check_network(teaching.network, pictures)
    each = [
        dataclasses.replace(evaluation, labels=labels, augmentation=shown, teacher=teaching)
        for labels in dict.fromkeys(train_labels or ("own",))
        for shown in dict.fromkeys(augmentation or ("own",))
    ]
    evaluation.check(entrants)
    selected = [score_checkpoints(by, entrants, selection) for by in each]
    group = with_companions(entrants, folders, pictures)
    tables = [
        [dataclasses.replace(row, selected=chosen.get(row.run, {})) for row in by.rows(group, by.domains.names())]
        for by, chosen in zip(each, selected, strict=True)
    ]
    return [row for of_one_run in zip(*tables, strict=True) for row in of_one_run]


def _attacks(names: Sequence[str], epsilons: Sequence[float], limit: int | None) -> Attacks | None:
    if not names:
        if epsilons or limit is not None:
            raise UsageError("a radius or number of pictures, and no attack", hint="name one, such as --attack pgd20")
        return None
    return Attacks(tuple(attack_named(name) for name in dict.fromkeys(names)), tuple(epsilons), limit)


def _sequences(names: Sequence[str], limit: int | None, seed: int) -> Sequences | None:
    if not names:
        if limit is not None:
            raise UsageError("a number of sequences, and no perturbation", hint="name one, such as --sequence tilt")
        return None
    return Sequences(sequences_named(names), limit, seed)


def _others(
    asked: Sequence[str | Dataset], own: Dataset, data: str | Path | None, offline: bool
) -> tuple[Dataset, ...]:
    """Other datasets, whose pictures must be of the shape that the students take."""
    found = tuple(_dataset(other, data, offline) for other in asked)
    for other in found:
        here, there = ((data.channels, *data.size) for data in (own, other))
        if here != there:
            raise CompatibilityError(
                "pictures of {} are {} x {} x {}, those of {} {} x {} x {}".format(other.name, *there, own.name, *here),
                hint="take one of the same shape",
            )
        if other.test_fingerprint == own.test_fingerprint:
            raise UsageError(f"{other.name} is the dataset itself", hint="name another one")
    return found


def _check_network(name: str, dataset: Dataset) -> None:
    """An unknown or unfit network is refused before anything is trained."""
    canonical_name(name, channels=dataset.channels, classes=len(dataset.classes), size=dataset.size)


def _dataset(dataset: str | Dataset, data: str | Path | None, offline: bool) -> Dataset:
    if isinstance(dataset, Dataset):
        return dataset
    return load_dataset(dataset, root=None if data is None else Path(data), offline=offline)
