"""Rows of result files, of this form and of the older ones, as a board shows them: once each, with what they belong to.

Rows stand in one table only where all is equal that an accuracy depends on beside the set itself: `Setting`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fredbench.evaluation.results.claims import own_claims
from fredbench.evaluation.results.reading import protocol_of, read_document, row_of
from fredbench.evaluation.results.schema import VERSION, violations
from fredbench.evaluation.rows import Row
from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.foundation.files import canonical_json, digest_of

__all__ = ["Entry", "Setting", "collected"]

_RECORD, _GRID = "fredbench-result", "fredbench-grid"
_MAKE = "make one: fredbench submit RUN --out FILE.json"
_RUN_FILES = frozenset({"result.json", "environment.json", "seconds.json"})


@dataclass(frozen=True)
class Setting:
    """What rows that may be ranked have in common.

    suite_digest: of the suite's constants and pictures; empty where the file says its name alone. severities: those
    scored, or how many where only that is known. limit, corrupted_limit: None for all test pictures.
    """

    dataset: str
    fingerprint: str
    partial: str
    suite: str
    suite_digest: str
    severities: tuple[int, ...] | int
    source: str
    protocol: str
    scale: str
    limit: int | None
    corrupted_limit: int | None

    def digest(self) -> str:
        """Hex SHA-256 of all of it."""
        return digest_of(asdict(self))


@dataclass(frozen=True)
class Entry:
    """A row with its setting, and what is known of its set: keys of `sets` in the schema, as far as the file has them.

    scored_in: versions and device of the scores. beside: the rows of its control and its start, by role, as `key`s.
    """

    name: str
    role: str
    row: Row
    plain: Mapping[str, Any]
    setting: Setting
    made: Mapping[str, Any]
    scored_in: Mapping[str, Any]
    file: str
    beside: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def set_id(self) -> str:
        """Which set it is: the digest of its spec, else the name of its run."""
        return str(self.made.get("spec_sha256") or self.row.run)

    @cached_property
    def key(self) -> str:
        """Hex SHA-256 of what it says: the same numbers of the same set in the same setting, and its name."""
        numbers = {name: self.plain.get(name) and self.plain[name]["mean"] for name in ("clean", "average")}
        return digest_of([self.name, self.claim, numbers, self.row.students])

    @cached_property
    def claim(self) -> str:
        """Hex SHA-256 of what it speaks of, whatever it says: the set, its setting and the network of its students."""
        return digest_of([self.set_id, self.setting.digest(), self.row.network, self.row.students])

    @property
    def budgets(self) -> dict[str, int]:
        """What the set stores, by how it is counted."""
        stored = self.plain.get("storage", {})
        known = {"stored": stored.get("bytes"), "coded": stored.get("bytes_coded"), **self.made.get("bytes", {})}
        counted = {f"bytes {name}": value for name, value in known.items() if value is not None}
        return {"params": self.row.params, "strict": self.row.params_strict, **counted}


def collected(places: Sequence[Path]) -> tuple[list[Entry], list[ArtefactError]]:
    """The rows of all result files at `places` (files, or folders with all below), each once, and the broken files.

    Of rows that say the same the one is kept that says most of its set. JSON in folders that is no result file is
    passed over; `UsageError` for a place that is not there or holds no result file at all.
    """
    found: dict[str, Entry] = {}
    broken: list[ArtefactError] = []
    read = 0
    for file, asked in _files(places):
        try:
            document = read_document(file)
            reader = _reader(document, file)
            if reader is None:
                if asked:
                    raise ArtefactError(
                        f"{file} is no result file", hint="make one: fredbench submit RUN --out FILE.json"
                    )
                continue
            entries = list(reader(document, file))
        except ArtefactError as error:
            broken.append(error)
            continue
        read += 1
        for entry in entries:
            known = found.get(entry.key)
            if known is None or len(canonical_json(entry.made)) > len(canonical_json(known.made)):
                found[entry.key] = entry
    if not read and not broken:
        raise UsageError(f"no result file in {', '.join(map(str, places))}", hint=_MAKE)
    return sorted(found.values(), key=lambda entry: (entry.setting.digest(), entry.key)), broken


def _files(places: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """JSON files, and whether each was named itself; what every run folder holds is left out."""
    for place in places:
        if place.is_file():
            yield place, True
        elif not place.is_dir():
            raise UsageError(f"there is no {place}", hint="name result files, or folders of them")
        for folder, inner, names in os.walk(place):
            inner.sort()
            of_run = _RUN_FILES if "spec.toml" in names else frozenset[str]()
            yield from ((Path(folder) / n, False) for n in sorted(names) if n.endswith(".json") and n not in of_run)


_Reader = Callable[[Mapping[str, Any], Path], Iterator[Entry]]


def _reader(document: Any, file: Path) -> _Reader | None:
    """What reads a document of its form; None for JSON of other things."""
    if not isinstance(document, dict):
        return None
    if document.get("schema") == VERSION:
        return _submitted
    if str(document.get("schema", "")).startswith("fredbench-result/"):
        raise ArtefactError(f"{file} is {document['schema']!r:.60}, not {VERSION}", hint="update fredbench")
    return {_RECORD: _recorded, _GRID: _gridded}.get(str(document.get("format")))


def _checked(found: Sequence[str], file: Path) -> None:
    if found:
        raise ArtefactError(f"{file}: {found[0]}", hint=f"see what is wrong: fredbench verify {file}")


def _submitted(document: Mapping[str, Any], file: Path) -> Iterator[Entry]:
    """Rows of a result file of this form."""
    _checked(violations(document), file)
    _checked([f"{c.what}: {c.claimed}, but {c.found}" for c in own_claims(document) if c.holds is False], file)
    for score in document["scores"]:
        suite, said = score["suite"], document["data"]
        setting = Setting(
            dataset=said["dataset"],
            fingerprint=f"{said['fingerprint']} {said['test_fingerprint']}",
            partial=canonical_json(score["rows"]["entry"]["partial"]),
            suite=suite["name"],
            suite_digest=suite["digest"],
            severities=tuple(score["severities"]),
            source=score["source"],
            protocol=protocol_of(score["rows"]["entry"]),
            scale=score["scale"],
            limit=score["limit"],
            corrupted_limit=score["corrupted_limit"],
        )
        rows = {role: plain for role, plain in score["rows"].items() if role in document["sets"]}
        names = {"entry": document["name"]}
        yield from _family(rows, names, setting, document["sets"], document["scored_in"], file)


def _family(
    rows: Mapping[str, Mapping[str, Any]], names: Mapping[str, str], setting: Setting,
    sets: Mapping[str, Mapping[str, Any]], scored_in: Mapping[str, Any], file: Path,
) -> Iterator[Entry]:  # fmt: skip
    """An entry with its control and start, by role; those are named after what they are."""
    found: dict[str, Entry] = {}
    for role in sorted(rows, key=lambda role: role == "entry"):
        row = row_of(rows[role])
        beside = {other: entry.key for other, entry in found.items()} if role == "entry" else {}
        name = names.get(role) or _own_name(row)
        shown = "control" if row.control else "start" if row.start else "entry"
        found[role] = Entry(name, shown, row, rows[role], setting, sets[role], scored_in, file.name, beside)
    yield from found.values()


def _own_name(row: Row) -> str:
    return f"{row.label}, IPC {row.ipc}"


def _recorded(document: Mapping[str, Any], file: Path) -> Iterator[Entry]:
    """Rows of a file that `benchmarks/record.py` wrote: specs by run, companions by what their students share."""
    rows, runs = _older(document, file), document.get("runs")
    if not isinstance(runs, dict):
        raise ArtefactError(f"{file}: lacks runs", hint="fetch it anew")
    specs = {}
    for row in rows:
        spec = _spec(runs.get(row["run"], {}), f"runs of {row['run']}", file)
        specs[row["run"]] = spec
    made = {name: _made(runs[name], specs[name], file) for name in specs}
    for row in rows:
        student, protocol = specs[row["run"]]["student"], protocol_of(row)
        alike = [o for o in rows if specs[o["run"]]["student"] == student and protocol_of(o) == protocol]
        family = {"entry": row}
        if not (row["control"] or row["start"]):
            for other in alike:
                if other["control"] and other["ipc"] == row["ipc"]:
                    family["control"] = other
                elif other["start"] and _system(other) == _system(row):
                    family["start"] = other
        setting = _older_setting(row, specs[row["run"]]["run"]["fingerprint"])
        sets = {role: made[other["run"]] for role, other in family.items()}
        yield from _family(family, {}, setting, sets, _mapping(document.get("scored_in")), file)


def _gridded(document: Mapping[str, Any], file: Path) -> Iterator[Entry]:
    """Rows of a file that `fredbench suite run --out` wrote: each cell names the runs beside it."""
    rows, fingerprint = _older(document, file), document.get("fingerprint")
    if not isinstance(fingerprint, str):
        raise ArtefactError(f"{file}: lacks the dataset's fingerprint", hint="fetch it anew")
    by_run = {(row["run"], protocol_of(row)): row for row in rows}
    severities = document.get("severities")
    known = tuple(severities) if isinstance(severities, list) and _whole_numbers(severities) else None
    for row in rows:
        beside = _mapping(row.get("beside"))
        others = {role: by_run.get((str(beside.get(role)), protocol_of(row))) for role in ("control", "start")}
        family = {"entry": row, **{role: other for role, other in others.items() if other not in (None, row)}}
        sets = {role: _made(other, _spec(other, f"row {other['run']}", file), file) for role, other in family.items()}
        setting = _older_setting(row, fingerprint, known)
        yield from _family(family, {}, setting, sets, _mapping(document.get("environment")), file)


def _older(document: Mapping[str, Any], file: Path) -> list[dict[str, Any]]:
    """The rows of a file of an older form, each of which keeps the schema."""
    rows = document.get("rows")
    if not isinstance(rows, list) or not rows:
        raise ArtefactError(f"{file}: holds no rows", hint="fetch it anew")
    for number, row in enumerate(rows):
        _checked([f"rows[{number}].{line}" for line in violations(row, "row")], file)
    return rows


def _older_setting(row: Mapping[str, Any], fingerprint: str, severities: tuple[int, ...] | None = None) -> Setting:
    scored = next((len(found["by_severity"]) for found in row.get("corruptions", {}).values()), 0)
    return Setting(
        dataset=row["dataset"],
        fingerprint=fingerprint,
        partial=canonical_json(row["partial"]),
        suite=row.get("suite") or "clean",
        suite_digest="",
        severities=_known_severities(severities, scored),
        source=row["source"],
        protocol=protocol_of(row),
        scale=row["scale"],
        limit=row["limit"],
        corrupted_limit=row.get("corrupted_limit"),
    )


def _known_severities(said: tuple[int, ...] | None, scored: int) -> tuple[int, ...] | int:
    """Which severities `scored` many are: those that the file says, all where they are five, else their number."""
    if scored == 0:
        return ()
    return said or ((1, 2, 3, 4, 5) if scored == 5 else scored)


def _spec(holder: Any, where: str, file: Path) -> Mapping[str, Any]:
    """The spec in an older file's record of a run, with the parts that are read here."""
    spec = _mapping(_mapping(holder).get("spec"))
    if not isinstance(_mapping(spec.get("run")).get("fingerprint"), str) or not isinstance(spec.get("student"), dict):
        raise ArtefactError(f"{file}: {where} lack a spec", hint="fetch it anew")
    return spec


def _made(holder: Mapping[str, Any], spec: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """What an older file says of a run, under the names of this form and as its schema has them."""
    result = _mapping(holder.get("result"))
    said = {
        "spec": spec,
        "spec_sha256": digest_of(spec),
        "made_by": holder.get("made_by") or holder.get("command"),
        "made_in": holder.get("made_in"),
        "ledger": result.get("ledger"),
        "synset_sha256": result.get("synset_sha256"),
        "seconds": result.get("seconds") or _mapping(holder.get("seconds")).get("distillation"),
    }
    made = {name: value for name, value in said.items() if value is not None}
    _checked([f"of a run: {line}" for line in violations(made, "made")], file)
    return made


def _system(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["method"], row["objective"], row["parameterization"], row["ipc"]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int for each in value)
