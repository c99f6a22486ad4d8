"""Auditing an artefact: every claim of a header and of a run's records, derived anew and compared."""

from __future__ import annotations

from pathlib import Path

from fredbench.foundation.checks import Check, equal
from fredbench.foundation.errors import ArtefactError
from fredbench.foundation.files import sha256_of
from fredbench.runs.store import RunFolder
from fredbench.runs.synset import FILE_NAME, Synset, header_digest, load, tensors_digest

__all__ = ["audit", "audit_run", "audit_synset"]

_DECODING = "decoding"
_LEDGER_ITEMS = (
    "params",
    "params_strict",
    "mask_bits",
    "label_scalars",
    "step_size_scalars",
    "decoder_scalars",
    "half_scalars",
    "decoded",
)


def audit(path: Path) -> list[Check]:
    """All checks of a run's folder or of a synset file; raises `ArtefactError` for what cannot be read at all."""
    if (path / "spec.toml").is_file():
        return audit_run(RunFolder(path))
    return audit_synset(load(path))


def audit_synset(synset: Synset) -> list[Check]:
    """Checksum, budget item by item, decoding, and all that `Synset.verify` holds against the header."""
    try:
        checks = [
            equal("header's checksum", synset.header["header_sha256"], header_digest(synset.header)),
            equal("tensors' checksum", synset.header["tensors_sha256"], tensors_digest(synset.tensors)),
            _decoded(synset),
        ]
        if checks[-1].holds:  # What does not decode has no budget to count.
            checks += [*_ledger_checks(synset), _within_budget(synset), _as_a_whole(synset)]
        return checks
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtefactError(
            f"the header is malformed: {type(error).__name__} at {error}", hint="distill the set again or fetch it anew"
        ) from error


def audit_run(run: RunFolder) -> list[Check]:
    """The synset's checks, and the run's records against it: spec, result, finished."""
    spec = run.spec()
    synset = load(run.synset_file)
    checks = audit_synset(synset)
    checks.append(equal("spec.toml's digest", synset.header.get("spec_sha256", "none"), spec.digest()))
    fingerprint = synset.header["dataset"].get("fingerprint", "none")
    checks.append(equal("dataset's fingerprint", fingerprint, spec.fingerprint))
    claimed, asked = _whitening(synset), spec.data_settings.get("whitening", "none")
    if {claimed, asked} != {"none"}:
        checks.append(equal("whitening", claimed, asked))
    checks.append(equal("iterations", synset.header["iterations"], spec.iterations))
    checks.append(Check("finished", "yes", "yes" if run.finished else "no result.json", run.finished))
    if run.finished:
        result = run.result()
        checks.append(
            equal(f"{FILE_NAME}'s checksum", result.get("synset_sha256", "none"), sha256_of(run.synset_file))
        )
        if all(check.holds for check in checks if check.what == _DECODING):
            checks.append(equal("result.json's ledger", result.get("ledger", "none"), synset.ledger.to_mapping()))
    return checks


def _whitening(synset: Synset) -> str:
    return str(synset.normalization["recipe"]) if synset.whitened else "none"


def _ledger_checks(synset: Synset) -> list[Check]:
    claimed, counted = synset.header["ledger"], synset.ledger.to_mapping()
    items = [item for item in _LEDGER_ITEMS if claimed.get(item) or counted.get(item)]
    checks = [equal(f"ledger: {item.replace('_', ' ')}", claimed.get(item, 0), counted.get(item, 0)) for item in items]
    # Sets of versions before bytes were counted claim none.
    if "bytes" in synset.header:
        checks.append(equal("ledger: bytes", synset.header["bytes"], synset.storage.stored))
    return checks


def _within_budget(synset: Synset) -> Check:
    budget, params = synset.header["budget"], synset.ledger.params
    return Check("within the budget", f"at most {budget:,}", f"{params:,}", params <= budget)


def _decoded(synset: Synset) -> Check:
    """Decoding happens, gives pictures of the claimed shape, and only finite values."""
    claimed = f"{synset.header['ledger']['decoded']:,} × {tuple(synset.header['dataset']['shape'])}, finite"
    try:
        images = synset.images
    except ArtefactError as error:
        return Check(_DECODING, claimed, error.message, False)
    finite = "finite" if bool(images.isfinite().all()) else "not finite"
    found = f"{len(images):,} × {tuple(images.shape[1:])}, {finite}"
    return Check(_DECODING, claimed, found, claimed == found)


def _as_a_whole(synset: Synset) -> Check:
    # Whatever else the artefact itself holds against its header, now or in later formats.
    try:
        synset.verify()
    except ArtefactError as error:
        return Check("header against file", "no contradiction", error.message, False)
    return Check("header against file", "no contradiction", "no contradiction", True)
