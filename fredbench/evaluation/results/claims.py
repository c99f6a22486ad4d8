"""What a result file says of itself, held against the file alone: suites' digests, rows against sets, arithmetic.

Nothing here loads a network or data, so that a board of many files is made in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fredbench.evaluation.results.arithmetic import arithmetic_checks, differences
from fredbench.foundation.checks import Check, equal
from fredbench.foundation.files import digest_of

__all__ = ["own_claims", "suite_digest"]

_SAID = ("method", "objective", "parameterization", "ipc", "seed", "iterations")


def own_claims(document: Mapping[str, Any]) -> list[Check]:
    """The checks of a document that keeps the schema which need nothing but the document."""
    checks: list[Check] = []
    for number, score in enumerate(document["scores"]):
        suite, where = score["suite"], f"scores[{number}] {score['suite']['name']}"
        checks.append(equal(f"{where}.suite.digest", suite["digest"], suite_digest(suite)))
        for role in score["rows"]:
            checks += _row_against_set(document, score, role, f"{where}.{role}")
            checks += arithmetic_checks(score, role, f"{where}.{role}")
    return checks


def suite_digest(suite: Mapping[str, Any]) -> str:
    """Hex SHA-256 of what makes a suite's pictures: its constants, the generator's version or the archive's digest."""
    return digest_of({name: suite[name] for name in ("constants", "pixels", "archive")})


def _row_against_set(document: Mapping[str, Any], score: Mapping[str, Any], role: str, where: str) -> Iterator[Check]:
    """What a row says of its set is what stands of that under `sets`."""
    if role not in document["sets"]:
        yield Check(where, "a set of this role", "none under `sets`", False)
        return
    plain, claimed = score["rows"][role], document["sets"][role]
    run = claimed["spec"]["run"]
    wanted = {
        **{name: run[name] for name in _SAID},
        "run": claimed["run"],
        "dataset": document["data"]["dataset"],
        "scale": run["preset"],
        **{name: claimed["ledger"][name] for name in ("params", "params_strict", "decoded")},
        "assumed": claimed.get("imported", {}).get("assumed", []),
    }
    wrong = differences({name: plain.get(name, []) for name in wanted}, wanted, where)
    unsaid = [split for split in document["data"]["partial"] if split not in plain["partial"]]
    wrong += [Check(f"{where}.partial", f"what {split} lacks", "is not said", False) for split in unsaid]
    yield Check(f"{where}: its set", "what stands under `sets`", "the same" if not wrong else "another", not wrong)
    yield from wrong
