"""Result files made by hand, whose numbers follow from their values, for tests of boards and of what is read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from made_rows import made_row

from fredbench.evaluation.measures import average_over, corruption_scores
from fredbench.evaluation.results.claims import suite_digest
from fredbench.evaluation.rows import Row
from fredbench.evaluation.statistics import summarise

PICTURES = 200
NAMES = ("brightness", "contrast")
SEVERITIES = [1, 5]
DIGEST = "ab" * 32


def counted_row(number: int, **changes: Any) -> Row:
    """A row of three students whose accuracies are shares of `PICTURES` pictures."""
    draws = np.random.default_rng(number)
    share = draws.integers(20, PICTURES, (len(NAMES), 3, 2)) * 100 / PICTURES
    clean = (draws.integers(20, PICTURES, 3) * 100 / PICTURES).tolist()
    by_corruption = {name: each.tolist() for name, each in zip(NAMES, share, strict=True)}
    scores = corruption_scores(by_corruption, clean, None, SEVERITIES)
    average = average_over(list(by_corruption.values()))
    plain = made_row(number, corruptions=(), **{"run": f"run-{number}", "suite": "two", "limit": PICTURES, **changes})
    return dataclasses.replace(plain, clean=summarise(clean), average=average, **scores)


def made_document(number: int = 0, /, *, name: str = "ours", entry: Any = None, **changes: Any) -> dict[str, Any]:
    """A result with its control. changes: keys of its one score or, among them, `data`, `suite` and `bytes`."""
    suite = {
        "asked": "two", "name": "two", "title": "two", "pixels": "2", "archive": None, "baseline": None,
        "constants": {"dataset": "cifar10", "corruptions": list(NAMES)}, **changes.pop("suite", {}),
    }  # fmt: skip
    suite["digest"] = suite_digest(suite)
    data = {
        "dataset": "cifar10", "fingerprint": DIGEST, "test_fingerprint": DIGEST, "classes": ["a", "b"],
        "shape": [3, 32, 32], "partial": {}, **changes.pop("data", {}),
    }  # fmt: skip
    counted, imported = changes.pop("bytes", {}), changes.pop("imported", None)
    score = {
        "suite": suite, "severities": SEVERITIES, "source": "generated", "protocol": "own", "scale": "quick",
        "network": "convnet-d3-w32-in", "students": 3, "limit": PICTURES, "corrupted_limit": None,
        "pictures": dict.fromkeys(("clean", *NAMES), PICTURES), **changes,
    }  # fmt: skip
    shared = {
        "protocol": score["protocol"],
        "preset": score["scale"],
        "limit": score["limit"],
        "network": score["network"],
    }
    shared |= {"dataset": data["dataset"], "partial": data["partial"], "suite": suite["name"]}
    rows = {
        "entry": counted_row(number, **shared, **(entry or {})),
        "control": counted_row(
            1000 + number, control=True, method="random", objective="none", parameterization="pixels", iterations=0,
            params_strict=30720, **shared,
        ),
    }  # fmt: skip
    sets = {role: _set(row, data["fingerprint"], counted) for role, row in rows.items()}
    if imported is not None:
        sets["entry"]["imported"] = imported
    return {
        "schema": "fredbench-result/1",
        "name": name,
        "data": data,
        "sets": sets,
        "scores": [{**score, "rows": {role: row.to_mapping() for role, row in rows.items()}}],
        "scored_in": {"versions": {"torch": "2.0"}, "device": "cpu", "threads": 1, "commit": None},
    }


def _set(row: Row, fingerprint: str, counted: dict[str, int]) -> dict[str, Any]:
    ledger = dict.fromkeys(("mask_bits", "label_scalars", "step_size_scalars", "decoder_scalars"), 0)
    run = {
        "dataset": row.dataset, "fingerprint": fingerprint, "split": "train", "method": row.method,
        "objective": row.objective, "parameterization": row.parameterization, "ipc": row.ipc, "budget": row.params,
        "preset": row.preset, "seed": row.seed, "iterations": row.iterations, "network": row.network, "device": "cpu",
        "threads": 1,
    }  # fmt: skip
    return {
        "run": row.run,
        "spec": {"run": run, "objective": {}, "parameterization": {}, "student": {}},
        "spec_sha256": _hex(row.run),
        "tensors_sha256": DIGEST,
        "synset_sha256": DIGEST,
        "budget": row.params,
        "ledger": {"params": row.params, "params_strict": row.params_strict, "decoded": row.decoded, **ledger},
        "bytes": {"stored": 4 * row.params, **counted},
        "made_by": "fredbench distill cifar10 --ipc 1",
        "made_in": {"versions": {"torch": "2.0"}, "device": "cpu", "threads": 1, "commit": None},
    }


def _hex(text: str) -> str:
    return text.encode().hex().rjust(64, "0")[-64:]


def written(document: Any, file: Path) -> Path:
    """`file` with the document in it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))
    return file
