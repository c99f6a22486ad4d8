"""What a result file claims, derived anew: from itself, from what comes with fredbench, from data and runs at hand.

Each claim becomes a check that holds, does not, or cannot be made here, which is said and is no failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from fredbench.datasets import PREFIXES, Dataset, data_root, load_dataset
from fredbench.evaluation.domains import TestDomains, domains_of
from fredbench.evaluation.entrants import Entrant
from fredbench.evaluation.labelling import FOLDER as TEACHERS
from fredbench.evaluation.labelling import Teacher
from fredbench.evaluation.results.arithmetic import differences, numbers
from fredbench.evaluation.results.claims import own_claims
from fredbench.evaluation.results.reading import read_document
from fredbench.evaluation.results.schema import VERSION, violations
from fredbench.evaluation.scoring import Evaluation
from fredbench.foundation.checks import Check, equal
from fredbench.foundation.coding import CODER
from fredbench.foundation.errors import ArtefactError, FredbenchError
from fredbench.parameterizations.budget import Ledger
from fredbench.runs.auditing import audit_run
from fredbench.runs.sources import dataset_of
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder, Store
from fredbench.suites.corruption import CorruptionSuite, suite_named, suite_names

__all__ = ["verify_result"]

_PREDICTED = (
    "clean", "average", "drop", "corruptions", "mce", "relative_mce", "domains", "calibration", "params",
    "params_strict", "decoded", "students", "network", "protocol", "source", "limit", "train_labels", "augmentation",
    "teacher",
)  # fmt: skip
_OWN = {"train_labels": "own", "augmentation": "own"}
"""What files mean that were written before there was anything else."""


def verify_result(path: Path, store: Store, data: Path | None) -> list[Check]:
    """All checks of the result file at `path`: against itself, the suites shipped, data below `data`, runs in `store`.

    Raises `ArtefactError` for what is no JSON, or no result of this form.
    """
    document = read_document(path)
    if not isinstance(document, dict) or document.get("schema") != VERSION:
        older = isinstance(document, dict) and document.get("format") in {"fredbench-result", "fredbench-grid"}
        raise ArtefactError(
            f"{path} is no {VERSION}" + (", but of an older form without the values of students" if older else ""),
            hint="nothing can be derived from it; submit the run again: fredbench submit RUN --out FILE.json",
        )
    broken = [Check(f"schema: {line}", VERSION, "does not keep it", False) for line in violations(document)]
    if broken:
        return broken
    checks = [Check("schema", VERSION, "kept", True)]
    checks += [check for role in document["sets"] for check in _set_checks(document, role)]
    checks += own_claims(document)
    for number, score in enumerate(document["scores"]):
        checks += _against_shipped(score["suite"], f"scores[{number}].suite")
    runs = {role: _found(store, claimed) for role, claimed in document["sets"].items()}
    dataset, said = _data_checks(document, runs["entry"], data)
    return [*checks, *said, *_run_checks(document, runs, store, dataset, data)]


def _spec(document: Mapping[str, Any], role: str) -> Spec:
    return Spec.from_mapping(document["sets"][role]["spec"], where=f"sets.{role}.spec")


def _set_checks(document: Mapping[str, Any], role: str) -> Iterator[Check]:
    """A set's ledger, and its spec: digest, dataset, what a start and a control share with the entry's."""
    claimed, where = document["sets"][role], f"sets.{role}"
    ledger = {key: value for key, value in claimed["ledger"].items() if key in Ledger.__dataclass_fields__}
    yield equal(f"{where}.ledger.params_strict", claimed["ledger"]["params_strict"], Ledger(**ledger).params_strict)
    try:
        spec = _spec(document, role)
        digest, budget, fingerprint = spec.digest(), spec.budget, spec.fingerprint
        other = None if role == "entry" else getattr(_spec(document, "entry"), role)()
    except (ArtefactError, TypeError, ValueError, AttributeError) as error:
        yield Check(f"{where}.spec", "a spec", f"none: {error}", False)
        return
    within = claimed["ledger"]["params"] <= budget
    yield equal(f"{where}.budget", claimed["budget"], budget)
    yield Check(f"{where}: within the budget", f"at most {budget:,}", f"{claimed['ledger']['params']:,}", within)
    yield equal(f"{where}: dataset's fingerprint", document["data"]["fingerprint"], fingerprint)
    yield _digest_check(f"{where}.spec_sha256", claimed["spec_sha256"], digest, spec)
    for number, score in enumerate(document["scores"]):
        if role in score["rows"]:
            flags = {"control": spec.is_control, "start": spec.is_start}
            said = {name: score["rows"][role][name] for name in flags}
            yield from differences(said, flags, f"scores[{number}].rows.{role}")
    if other is not None:
        wrong = differences(spec.to_mapping(), other.to_mapping(), f"{where}.spec")
        yield Check(f"{where}: {role} of the entry", "its spec", "the same" if not wrong else "another", not wrong)
        yield from wrong


def _digest_check(what: str, claimed: str, found: str, spec: Spec) -> Check:
    if claimed != found and spec.dataset.partition(":")[0] in PREFIXES:
        return Check(what, claimed[:16], "the digest is of a path that the file does not say", None)
    return equal(what, claimed, found)


def _against_shipped(suite: Mapping[str, Any], where: str) -> Iterator[Check]:
    """A suite against what comes with fredbench under its name."""
    if suite["asked"] not in suite_names():
        if suite["constants"].get("corruptions") or suite["constants"].get("shift"):
            yield Check(where, suite["asked"], "no suite that comes with fredbench", None)
        return
    shipped = suite_named(suite["asked"])
    wrong = differences(suite["constants"], shipped.constants(), f"{where}.constants")
    yield Check(f"{where}: constants", suite["asked"], "the shipped suite's" if not wrong else "others", not wrong)
    yield from wrong
    if suite["baseline"] is not None:
        known = None if shipped.baseline is None else shipped.baseline.errors
        found = None if known is None else {name: list(errors) for name, errors in known.items()}
        wrong = differences(suite["baseline"]["errors"], found, f"{where}.baseline.errors")
        said = "the shipped suite's" if not wrong else "others"
        yield Check(f"{where}: baseline", suite["baseline"]["name"], said, not wrong)
        yield from wrong


def _data_checks(
    document: Mapping[str, Any], run: RunFolder | None, data: Path | None
) -> tuple[Dataset | None, list[Check]]:
    """The dataset where it is at hand, by the run that was made of it or by name, and its fingerprints."""
    claimed = document["data"]
    if run is None and ":" in claimed["dataset"]:  # No path is opened because a file of others names it.
        return None, [Check("data", claimed["dataset"], "not at hand: pictures of the submitter's", None)]
    try:
        dataset = (
            load_dataset(claimed["dataset"], root=data, offline=True)
            if run is None
            else dataset_of(run, data=data, offline=True)
        )
        found = {"fingerprint": dataset.fingerprint, "test_fingerprint": dataset.test_fingerprint}
    except FredbenchError as error:
        return None, [Check("data", claimed["dataset"], f"not at hand: {error.message}", None)]
    checks = [equal(f"data.{name}", claimed[name], value) for name, value in found.items()]
    checks.append(equal("data.classes", claimed["classes"], list(dataset.classes)))
    return (dataset if all(check.holds for check in checks) else None), checks


def _run_checks(
    document: Mapping[str, Any], runs: Mapping[str, RunFolder | None], store: Store, dataset: Dataset | None,
    data: Path | None,
) -> Iterator[Check]:  # fmt: skip
    """Sets against the runs of the store, and accuracies against what their students predicted."""
    for role, claimed in document["sets"].items():
        folder = runs[role]
        if folder is None:
            yield Check(f"sets.{role}: run", claimed["run"], f"no such run in {store.root}", None)
            continue
        try:
            yield from _against_run(folder, claimed, f"sets.{role}")
            entrant = Entrant.of(folder)
        except FredbenchError as error:
            yield Check(f"sets.{role}: run", claimed["run"], f"cannot be used: {error.message}", False)
            continue
        for number, score in enumerate(document["scores"]):
            if role in score["rows"]:
                where = f"scores[{number}] {score['suite']['name']}.{role}"
                yield from _predicted(document["scored_in"], score, role, entrant, dataset, data, where)


def _found(store: Store, claimed: Mapping[str, Any]) -> RunFolder | None:
    """The finished run of the claimed spec: under its name, else whatever it is called."""
    for folder in sorted(store.runs(), key=lambda run: run.path.name != claimed["run"]):
        try:
            if folder.finished and folder.spec().digest() == claimed["spec_sha256"]:
                return folder
        except ArtefactError:
            continue  # not one that could be read: it is not the one asked for
    return None


def _against_run(folder: RunFolder, claimed: Mapping[str, Any], where: str) -> Iterator[Check]:
    entrant, audited = Entrant.of(folder), audit_run(folder)
    wrong = [check for check in audited if check.holds is False]
    yield Check(
        f"{where}: run", f"{folder.path.name} holds", f"{len(audited) - len(wrong)} of {len(audited)} checks", not wrong
    )
    yield from wrong
    yield equal(f"{where}.tensors_sha256", claimed["tensors_sha256"], entrant.synset.header["tensors_sha256"])
    yield equal(f"{where}.synset_sha256", claimed["synset_sha256"], folder.result().get("synset_sha256", "none"))
    yield equal(f"{where}.bytes.stored", claimed["bytes"]["stored"], entrant.synset.storage.stored)
    if "coded" in claimed["bytes"]:
        yield _coded(claimed, entrant, f"{where}.bytes.coded")
    yield from differences(claimed["ledger"], entrant.synset.ledger.to_mapping(), f"{where}.ledger")


def _coded(claimed: Mapping[str, Any], entrant: Entrant, what: str) -> Check:
    """Bytes after the coder, where it is the one that is here."""
    said = claimed["bytes"]["coded"]
    if claimed.get("coder") != CODER:
        return Check(what, f"{said:,}", "by another coder than is here", None)
    return equal(what, said, entrant.synset.storage.coded)


def _predicted(
    scored_in: Mapping[str, Any], score: Mapping[str, Any], role: str, entrant: Entrant, dataset: Dataset | None,
    data: Path | None, where: str,
) -> Iterator[Check]:  # fmt: skip
    """The row that the stored predictions give, against the claimed one."""
    what = f"{where}: predictions"
    if dataset is None:
        yield Check(what, "accuracies", "cannot be counted without the dataset's labels", None)
        return
    try:
        domains = _domains(score, dataset, data)
        device, threads = torch.device(scored_in.get("device", "cpu")), scored_in.get("threads", 1)
        claimed = {**_OWN, **score["rows"][role]}
        teacher = _teacher(claimed, entrant, dataset, device, threads)
        if teacher is None and claimed["train_labels"] == "relabelled":
            yield Check(what, "accuracies", "the teacher that relabelled is not in the store", None)
            return
        evaluation = Evaluation(
            dataset, device, threads, domains, (score["network"],), score["students"], score["protocol"],
            calibration="calibration" in claimed, labels=claimed["train_labels"],
            augmentation=claimed["augmentation"], teacher=teacher,
        )  # fmt: skip
        row = evaluation.stored_row(entrant, domains.names())
    except (FredbenchError, RuntimeError) as error:
        yield Check(what, "accuracies", f"cannot be counted here: {error}", None)
        return
    if row is None:
        yield Check(what, "accuracies", "not all in the store (the same --data, device and threads find them)", None)
        return
    claimed, found = ({n: each.get(n) for n in _PREDICTED} for each in (claimed, row.to_mapping()))
    # A file of an earlier version says less of confidences than can be counted today, which is no contradiction.
    counted = found["calibration"] or {}
    found["calibration"] = {
        domain: {key: counted.get(domain, {}).get(key) for key in said}
        for domain, said in (claimed["calibration"] or {}).items()
    } or None
    wrong = differences(claimed, found, where)
    total = len(list(numbers(claimed)))
    said = f"{total:,} numbers counted again" if not wrong else f"{len(wrong)} of {total:,} numbers are others"
    yield Check(what, "accuracies", said, not wrong)
    yield from wrong


def _teacher(
    claimed: Mapping[str, Any], entrant: Entrant, dataset: Dataset, device: torch.device, threads: int
) -> Teacher | None:
    """The teacher that a row names, where it lies in the store; nothing is trained for a verification."""
    said = claimed.get("teacher") or {}
    if claimed["train_labels"] != "relabelled" or "epochs" not in said:
        return None
    folder = entrant.folder.path.parent / TEACHERS
    teacher = Teacher(dataset, folder, said["network"], device, threads, said["epochs"], said["seed"])
    plan = teacher.plan(entrant.spec.split)
    return teacher if plan.digest() == said["digest"] and plan.file.is_file() else None


def _domains(score: Mapping[str, Any], dataset: Dataset, data: Path | None) -> TestDomains:
    """The domains of a score as they can be made here."""
    suite = score["suite"]
    shipped = suite["asked"] in suite_names()
    known = (
        suite_named(suite["asked"])
        if shipped
        else CorruptionSuite.of_constants(suite["constants"], name=suite["asked"], title=suite["title"], where="suite")
    )
    return domains_of(
        known,
        dataset,
        data_root(data),
        severities=tuple(score["severities"]),
        limit=score["limit"],
        corrupted_limit=score["corrupted_limit"],
    )
