"""The library's front door: what the commands do, as functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fredbench.datasets import Dataset, data_root, load_dataset
from fredbench.evaluation.domains import domains_of
from fredbench.evaluation.rows import Row
from fredbench.evaluation.tables import Entrant, Evaluation, Protocol, with_companions
from fredbench.foundation.device import resolve_device, use_threads
from fredbench.foundation.errors import CompatibilityError, UsageError
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs import distillation
from fredbench.runs.store import RunFolder, Store
from fredbench.suites.corruption import CorruptionSuite, suite_named

__all__ = ["distill", "evaluate"]


def distill(
    dataset: str | Dataset,
    *,
    store: str | Path = "runs",
    data: str | Path | None = None,
    offline: bool = False,
    device: str = "auto",
    threads: int | None = None,
    name: str | None = None,
    fresh: bool = False,
    **asked: Any,
) -> RunFolder:
    """Distill `dataset` and return the run's folder; a run that was stopped goes on, a finished one is reported.

    `asked` are the fields of `Request`: `ipc` or `params`, `method`, `objective`, `parameterization`, `preset`, `seed`,
    `iterations`, `network`, `overrides`. Raises a `FredbenchError` for anything that cannot be meant.

    >>> run = fredbench.distill("digits", ipc=1, preset="quick")    # doctest: +SKIP
    >>> fredbench.load(run.path).images.shape                       # doctest: +SKIP
    torch.Size([40, 3, 32, 32])
    """
    pictures = _dataset(dataset, data, offline)
    torch_device = resolve_device(device)
    spec = resolve(Request(**asked), pictures, device=str(torch_device), threads=use_threads(threads))
    folder = Store(Path(store)).folder_for(spec, name, replace=fresh)
    distillation.run(spec, pictures, folder, fresh=fresh)
    return folder


def evaluate(
    runs: Sequence[str | Path | RunFolder],
    *,
    suite: str | CorruptionSuite | None = None,
    networks: Sequence[str] | None = None,
    students: int | None = None,
    severities: Sequence[int] = (),
    limit: int | None = None,
    protocol: Protocol = "own",
    calibration: bool = False,
    store: str | Path = "runs",
    data: str | Path | None = None,
    offline: bool = False,
    device: str = "auto",
    threads: int | None = None,
    dataset: Dataset | None = None,
) -> list[Row]:
    """Rows for `runs`, their starts and controls: clean accuracy and, with a `suite`, its corruptions.

    All runs must be of one dataset, the suite's where there is one; it is loaded unless it is given. `calibration`
    adds negative log-likelihood and expected calibration error.
    """
    folders = Store(Path(store))
    entrants = [Entrant.of(run if isinstance(run, RunFolder) else folders.find(str(run))) for run in runs]
    if not entrants:
        raise UsageError("no run to evaluate", hint="name one or more, see `fredbench list runs`")
    name = entrants[0].spec.dataset
    chosen = suite_named(suite) if isinstance(suite, str) else suite or CorruptionSuite.clean_only(name)
    for entrant in entrants:
        if entrant.spec.dataset != chosen.dataset:
            raise CompatibilityError(
                f"{entrant.folder.path} is a set of {entrant.spec.dataset}, {chosen.name} tests {chosen.dataset}",
                hint="choose the suite of the run's dataset, see `fredbench suite list`",
            )
    pictures = dataset or _dataset(name, data, offline)
    root = data_root(None if data is None else Path(data))
    evaluation = Evaluation(
        dataset=pictures,
        device=resolve_device(device),
        threads=use_threads(threads),
        domains=domains_of(chosen, pictures, root, severities=tuple(sorted(set(severities))), limit=limit),
        networks=tuple(networks) if networks else None,
        students=students,
        protocol=protocol,
        calibration=calibration,
    )
    return evaluation.rows(with_companions(entrants, folders, pictures), evaluation.domains.names())


def _dataset(dataset: str | Dataset, data: str | Path | None, offline: bool) -> Dataset:
    if isinstance(dataset, Dataset):
        return dataset
    return load_dataset(dataset, root=None if data is None else Path(data), offline=offline)
