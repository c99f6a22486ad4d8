"""A result file of one set: what was scored, on what, with what came out, in the form of the published schema.

No clock is in it, no path and no name of a machine: what a store holds gives the same bytes whenever it is written.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fredbench.corruptions.severities import PIXELS
from fredbench.datasets import Dataset
from fredbench.evaluation.domains import CLEAN, TestDomains
from fredbench.evaluation.entrants import Entrant
from fredbench.evaluation.results.claims import suite_digest
from fredbench.evaluation.results.schema import VERSION, violations
from fredbench.evaluation.rows import Row
from fredbench.foundation.coding import CODER
from fredbench.foundation.environment import without_places
from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.foundation.files import digest_of
from fredbench.recipes.reproducing import distill_command
from fredbench.runs.store import RunFolder

__all__ = ["made", "result_document"]


def result_document(
    run: RunFolder,
    dataset: Dataset,
    scored: Sequence[tuple[TestDomains, Sequence[Row]]],
    environment: Mapping[str, Any],
    *,
    name: str | None = None,
) -> dict[str, Any]:
    """The document of `run`. scored: by suite the rows of the run, of its start and of its control.

    name: what boards call it, by default after its parts. Raises `UsageError` for a name that is none, `ArtefactError`
    where the records of a run cannot be read.
    """
    by_role = [(domains, _roles(run, rows)) for domains, rows in scored]
    entry = by_role[0][1]["entry"]
    document = {
        "schema": VERSION,
        "name": f"{entry.label}, IPC {entry.ipc}" if name is None else name,
        "data": {
            "dataset": _without_path(dataset),
            "fingerprint": dataset.fingerprint,
            "test_fingerprint": dataset.test_fingerprint,
            "classes": list(dataset.classes),
            "shape": [dataset.channels, *dataset.size],
            "partial": dict(dataset.partial),
        },
        "sets": {role: _set(RunFolder(Path(row.run)), dataset) for role, row in by_role[0][1].items()},
        "scores": [_score(domains, rows, dataset) for domains, rows in by_role],
        "scored_in": without_places(environment),
    }
    if broken := violations(document):
        raise UsageError(f"this is no result: {broken[0]}", hint="a --name has 1 to 200 letters")
    return document


def _roles(run: RunFolder, rows: Sequence[Row]) -> dict[str, Row]:
    """Rows by what they are to `run`, which may be a start or a control itself."""
    found = {"start" if row.start else "control": row for row in rows if Path(row.run) != run.path}
    return {"entry": next(row for row in rows if Path(row.run) == run.path), **found}


def _set(folder: RunFolder, dataset: Dataset) -> dict[str, Any]:
    """What a run is, and what it was made by and in."""
    entrant = Entrant.of(folder)
    header, result, made_from = entrant.synset.header, folder.result(), made(folder, dataset)
    foreign = {"imported": header["imported"]} if "imported" in header else {}
    return {
        "run": _run_name(folder.path, dataset),
        "spec_sha256": entrant.spec.digest(),
        "tensors_sha256": header["tensors_sha256"],
        "synset_sha256": result["synset_sha256"],
        "budget": header["budget"],
        "ledger": entrant.synset.ledger.to_mapping(),
        "bytes": {"stored": entrant.synset.storage.stored, "coded": entrant.synset.storage.coded},
        "coder": CODER,
        **foreign,
        "seconds": result["seconds"],
        **made_from,
    }


def made(folder: RunFolder, dataset: Dataset) -> dict[str, Any]:
    """The command that makes a run, its spec, and what it was made in, without a path."""
    spec = folder.spec()
    plain = spec.to_mapping()
    plain["run"]["dataset"] = _without_path(dataset)
    command = distill_command(spec, dataset).replace(shlex.quote(spec.dataset), shlex.quote(_without_path(dataset)))
    try:
        environment = json.loads(folder.environment_file.read_text())
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"{folder.environment_file} cannot be read: {error}", hint="distill the run again with --fresh"
        ) from error
    return {"made_by": command, "spec": plain, "made_in": without_places(environment)}


def _without_path(dataset: Dataset) -> str:
    """The dataset's name, of which a folder's keeps its kind and the last part of its path."""
    prefix, colon, _ = dataset.name.partition(":")
    return f"{prefix}:{dataset.title}" if colon else dataset.name


def _run_name(path: Path, dataset: Dataset) -> str:
    """The run's folder, without what `Spec.folder_name` takes of a dataset's path into it."""
    spoken = dataset.name.replace(":", "-").replace("/", "-").strip("-.")[-40:]
    return path.name.replace(spoken, dataset.title) if ":" in dataset.name else path.name


def _score(domains: TestDomains, rows: Mapping[str, Row], dataset: Dataset) -> dict[str, Any]:
    """What the rows of one suite, by role, have in common, and the rows."""
    entry, names = rows["entry"], domains.names()
    return {
        "suite": _suite(domains, dataset),
        "severities": list(domains.severities) if domains.suite.corruptions else [],
        "source": domains.source,
        "protocol": entry.protocol,
        "scale": entry.preset,
        "network": entry.network,
        "students": entry.students,
        "limit": domains.limit,
        "corrupted_limit": domains.corrupted_limit,
        "pictures": {name: len(domains.indices_of(name)) for name in names},
        "rows": {
            role: {**_row(row, dataset), "run": _run_name(Path(row.run), dataset), "dataset": _without_path(dataset)}
            for role, row in rows.items()
        },
    }


def _row(row: Row, dataset: Dataset) -> dict[str, Any]:
    """A row whose comparisons name runs as the rows of the document do."""
    plain = row.to_mapping()
    for compared in plain.get("compared", ()):
        compared["to"] = _run_name(Path(compared["to"]), dataset)
    return plain


def _suite(domains: TestDomains, dataset: Dataset) -> dict[str, Any]:
    """A suite by all that makes its pictures, and the baseline that errors were taken relative to."""
    suite, measured = domains.suite, domains.baseline if domains.suite.corruptions else None
    errors = {} if measured is None else {name: list(each) for name, each in measured.errors.items()}
    constants = suite.constants()
    if ":" in suite.dataset:  # a user's pictures: their path is nobody's business
        constants["dataset"] = _without_path(dataset)
    generated = bool(suite.corruptions) and domains.source == "generated"
    keys = {name: domains.key(name) for name in domains.names() if name != CLEAN}
    archives = {name: key.get("archive", key["test"]) for name, key in keys.items()}
    said = {
        "constants": constants,
        "pixels": PIXELS if generated else None,
        "archive": None if domains.source == "generated" else digest_of(archives),
    }
    return {
        "asked": suite.name,
        "name": domains.built.name,
        "title": domains.built.title.replace(suite.dataset, dataset.title),
        "digest": suite_digest(said),
        **said,
        "baseline": None if measured is None else {**asdict(measured), "errors": errors},
    }
