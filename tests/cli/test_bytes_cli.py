"""Budgets in bytes: what is counted, what a table shows of it, what verify finds, and the types of foreign files."""

from __future__ import annotations

import csv
import io
import json
import lzma
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from commands import invoke
from made_rows import made_row

import fredbench
from fredbench.cli.options import BUDGETS as OFFERED
from fredbench.foundation.coding import BUDGETS, CODER
from fredbench.foundation.files import sha256_of
from fredbench.parameterizations.budget import Storage, raw_bytes
from fredbench.report.budgets import budget_cells, budget_notes
from fredbench.runs.synset import Synset, header_digest

FEW = ("--limit", 20, "--students", 1, "--severity", 1, "--threads", 1, "--offline")


def test_bytes_are_those_of_each_type_and_coded_as_the_named_coder_codes() -> None:
    tensors = {
        "pixels": torch.linspace(-2, 2, 3 * 64).reshape(3, 1, 8, 8).half(),
        "labels": torch.eye(3, dtype=torch.bfloat16),
        "mask": torch.arange(8, dtype=torch.uint8),
        "rows": torch.arange(4, dtype=torch.float64).reshape(2, 2).T,
    }
    storage = Storage(tensors, step_size=0.03, pixels=1000)
    assert storage.stored == 3 * 64 * 2 + 9 * 2 + 8 + 4 * 8 + 4
    by_name = b"".join(
        [
            np.float32(np.eye(3)).view(np.uint32).__rshift__(16).astype("<u2").tobytes(),  # bfloat16: the upper half
            bytes(range(8)),
            tensors["pixels"].numpy().astype("<f2").tobytes(),
            np.array([0, 2, 1, 3], dtype="<f8").tobytes(),
            np.float32(0.03).tobytes(),
        ]
    )
    assert b"".join(raw_bytes(tensors[name]) for name in sorted(tensors)) + np.float32(0.03).tobytes() == by_name
    assert storage.coded == len(lzma.compress(by_name, preset=9 | lzma.PRESET_EXTREME)) and "preset 9 extreme" in CODER
    assert storage.half == "labels (bfloat16), pixels (float16)"
    assert storage.to_mapping()["bits_per_pixel"] == 8 * storage.stored / 1000
    assert Storage({}).stored == 0 and OFFERED == BUDGETS


def test_show_has_all_counts_and_verify_holds_the_bytes(tiny_run: Path, copied_run: Path) -> None:
    synset = fredbench.load(tiny_run)
    facts = json.loads(invoke("show", tiny_run, "--format", "json").out)
    storage = facts["storage"]
    # 30,720 coefficients in single precision; a mask a class, channel-wise shared, of 1,024 bits.
    assert storage["bytes"] == 30_720 * 4 + 10 * 1024 // 8 == synset.header["bytes"] == synset.storage.stored
    assert storage["bytes_coded"] == synset.storage.coded and storage["coder"] == CODER
    train = 1297 - synset.header["dataset"]["pictures"]
    assert 0.08 * 1297 < train < 0.12 * 1297 and synset.header["dataset"]["split"] == "train without validation"
    assert storage["real_pixels"] == synset.header["dataset"]["pictures"] * 32 * 32
    assert storage["bits_per_pixel"] == pytest.approx(8 * storage["bytes"] / storage["real_pixels"], abs=1e-8)
    text = invoke("show", tiny_run).out
    assert f"{storage['bytes']:,}" in text and f"{storage['bytes_coded']:,}" in text and "bits a pixel" in text
    assert "ledger: bytes" in invoke("verify", copied_run).out

    def altered(**changes: object) -> str:
        header = {**synset.header, **changes}
        header = {key: value for key, value in header.items() if value is not None}
        tensors = {name: tensor.clone() for name, tensor in synset.tensors.items()}
        Synset(tensors, {**header, "header_sha256": header_digest(header)}).save(copied_run / "synset.safetensors")
        result = copied_run / "result.json"
        digest = sha256_of(copied_run / "synset.safetensors")
        result.write_text(json.dumps({**json.loads(result.read_text()), "synset_sha256": digest}))
        done = invoke("verify", copied_run)
        assert done.code in {0, 1}
        return done.err if done.code else ""

    assert "ledger: bytes" in altered(bytes=storage["bytes"] // 2)
    # Sets of before: no claim, and no number of real pictures.
    before = {key: value for key, value in synset.header["dataset"].items() if key != "pictures"}
    assert altered(bytes=None, dataset=before) == ""
    assert "does not say how many real pictures" in invoke("show", copied_run).out


def test_a_table_shows_the_one_budget_that_was_asked_for(tiny_run: Path, small_suite: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(tiny_run.parent, tmp_path / "copy"))
    asked = ("corrupt-eval", "tiny", "--suite", small_suite, *FEW, "--store", store)
    heads = {by: invoke(*asked, "--budget-by", by).out for by in BUDGETS}
    assert heads["params"].splitlines()[0].split()[-3:] == ["#Params", "n", "preset"]
    assert heads["strict"].splitlines()[0].split()[-3:] == ["strict", "n", "preset"]
    assert heads["bytes"].splitlines()[0].split()[-3:] == ["bytes", "n", "preset"]
    shown = {by: text.splitlines()[2].split()[-3] for by, text in heads.items()}
    assert shown == {"params": "30,720", "strict": "31,040", "bytes": "124,160"}
    assert "Bytes of all stored tensors" in heads["bytes"] and "Bytes of" not in heads["strict"]
    rows = json.loads(invoke(*asked, "--format", "json", "--budget-by", "strict").out)["rows"]
    assert [row["storage"]["bytes"] for row in rows] == [124_160, 124_160, 122_880]
    assert all(row["params"] == 30_720 and row["storage"]["bytes_coded"] > 0 for row in rows)
    records = list(csv.DictReader(io.StringIO(invoke(*asked, "--format", "csv").out)))
    assert [int(record["bytes"]) for record in records] == [124_160, 124_160, 122_880]
    clean = invoke("evaluate", "tiny", "--limit", 20, "--students", 1, "--threads", 1, "--store", store,
                   "--budget-by", "bytes").out  # fmt: skip
    assert "124,160" in clean and "30,720" not in clean and "31,040" not in clean
    assert "leave them out" in invoke("suite", "show", "digitsc", "--budget-by", "bytes").problem()[1]


def test_pictures_made_elsewhere_are_kept_and_counted_in_the_type_of_their_file(tmp_path: Path) -> None:
    store = tmp_path / "store"
    places = ("--store", store, "--threads", 1, "--offline")
    made = invoke("distill", "digits", "--ipc", 2, "--method", "random", "--preset", "quick", *places)
    original = fredbench.load(made.folder)
    images, labels = original.images, original.labels
    levels, first, kept = original.pixels(), {}, {}

    def taken(name: str, pictures: torch.Tensor, *more: object) -> Synset:
        file = tmp_path / f"{name}.pt"
        torch.save({"images": pictures, "labels": labels}, file)
        done = invoke("import", file, "--as", "digits", "--preset", "quick", "--name", name, *more, *places)
        assert done.code == 0, done.err
        first[name] = done
        assert invoke("verify", done.folder).code == 0
        return fredbench.load(done.folder)

    values = 20 * 3 * 32 * 32
    plain = taken("single", images)
    assert plain.storage.stored == 4 * values and plain.storage.types == {"pixels": "float32"}
    statistics = 2 * 3 * 8  # the mean and deviation by which kept pixels are normalised
    for name, pictures, size, near in (
        ("bytes", levels, values + statistics, 1e-6),
        ("wide", images.double(), 8 * values, 0),
        ("half", images.half(), 2 * values, 1e-3),
        ("brain", images.bfloat16(), 2 * values, 1e-2),
        ("unit-half", (levels.float() / 255).half(), 2 * values + statistics, 4e-3),
    ):
        found = kept[name] = taken(name, pictures)
        kind = str(pictures.dtype).removeprefix("torch.")
        assert found.storage.stored == size and found.storage.types["pixels"] == kind
        assert torch.allclose(found.images, images, atol=max(near, 1e-6)) and found.images.dtype == torch.float32
        assert torch.equal(found.labels, labels) and found.ledger.params == values
        assert f"as the file has them: {kind}" in first[name].err
        assert ("half precision" in found.card()) == ("half" in name or name == "brain")
        raw = safetensors.torch.load_file(first[name].folder / "synset.safetensors")["pixels"]
        assert torch.equal(raw, pictures[labels.argsort(stable=True)])
    soft = tmp_path / "soft.pt"
    torch.save({"images": images, "labels": (torch.eye(10)[labels] * 0.5 + 0.05).half()}, soft)
    done = invoke("import", soft, "--as", "digits", "--name", "soft", *places)
    found = fredbench.load(done.folder)
    assert found.storage.types == {"labels": "float16", "pixels": "float32"} and found.labels.dtype == torch.float32
    assert found.storage.stored == 4 * values + 2 * 20 * 10
    rows = [made_row(method=f"imported:{name}", storage=kept[name].storage) for name in ("half", "bytes")]
    assert budget_notes(rows, None) == ["imported:half is kept in half precision: pixels (float16)."]
    assert [budget_cells(row, "bytes") for row in rows] == [[f"{2 * values:,}"], [f"{values + statistics:,}"]]
