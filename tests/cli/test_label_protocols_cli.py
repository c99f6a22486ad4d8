"""Labels of the set, hard ones and a teacher's, with and without augmentation: rows side by side, controls likewise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from commands import invoke

import fredbench
from fredbench import networks
from fredbench.datasets import Dataset, load_dataset
from fredbench.evaluation.domains import domains_of
from fredbench.evaluation.entrants import Entrant, with_companions
from fredbench.evaluation.labelling import FOLDER, LABELS, Teacher
from fredbench.evaluation.rows import Row
from fredbench.evaluation.scoring import Evaluation
from fredbench.evaluation.students import StudentPlan
from fredbench.foundation.errors import UsageError
from fredbench.foundation.rng import Stream
from fredbench.importing.asking import Asked
from fredbench.importing.keeping import Kept, keep
from fredbench.runs.store import RunFolder, Store
from fredbench.suites.corruption import CorruptionSuite
from fredbench.training.loop import predict

NETWORK = "convnet-d3-w8-in"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def run(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Ten noisy pictures with soft labels; the largest of the first picture's is not its class."""
    draws = torch.Generator().manual_seed(3)
    rows = torch.eye(10) * 2 + torch.rand(10, 10, generator=draws)
    rows[0, 4] = 5
    kept = Kept(
        images=torch.randn(10, 3, 32, 32, generator=draws), hard=torch.arange(10),
        soft=rows / rows.sum(1, keepdim=True),
        form="probability", mean=(0.4,) * 3, std=(0.5,) * 3, factor=1, data={}, split="train",
        given=torch.zeros(10, 3, 32, 32),
    )  # fmt: skip
    facts: dict[str, Any] = {"file": "soft.pt", "sha256": "0" * 64, "space": "own", "assumed": [], "evidence": []}
    said = {"preset": "quick", "network": NETWORK, "students": 2, "epochs": 2, "cutmix": 0.5}
    store = Store(tmp_path_factory.mktemp("store"))
    return keep(kept, digits, store, Asked(), facts, None, said, device="cpu", threads=1)


def rows_of(run: RunFolder, **asked: Any) -> list[Row]:
    return fredbench.evaluate(
        [run], store=run.path.parent, limit=40, threads=1, device="cpu", offline=True,
        **{"train_labels": LABELS, "teacher": "mlp", "teacher_epochs": 1, **asked},
    )  # fmt: skip


@pytest.fixture(scope="module")
def rows(run: RunFolder) -> list[Row]:
    return rows_of(run, augmentation=("own", "none"))


def test_every_protocol_has_a_row_beside_the_others_and_so_has_its_control(rows: list[Row], run: RunFolder) -> None:
    protocols = [(labels, shown) for labels in LABELS for shown in ("own", "none")]
    assert [(row.control, row.train_labels, row.augmentation) for row in rows] == [
        (control, *protocol) for control in (False, True) for protocol in protocols
    ]
    assert len({row.label for row in rows}) == 12 and rows[5].label.endswith("[relabelled] [no augmentation]")
    assert {row.own_labels for row in rows} == {"probability", "hard"}
    # A random subset's own labels are hard ones: nothing is trained for it twice.
    assert rows[6].clean == rows[8].clean and rows[7].clean == rows[9].clean
    students = {name: len(list(folder.glob("student-*"))) for name, folder in _cells(run).items()}
    assert sorted(students.values()) == [2 * 4, 2 * 6]
    teachers = list((run.path.parent / FOLDER).glob("student-*"))
    said = [row.teacher for row in rows if row.teacher]
    assert len(teachers) == 1 and len(said) == 4 and all(each == said[0] for each in said)
    assert said[0]["digest"] in teachers[0].name and said[0]["network"] == "mlp" and 0 <= said[0]["clean"] <= 100
    assert "1 epochs at lr 0.01" in said[0]["recipe"] and (said[0]["seed"], said[0]["split"]) == (0, "train")


def test_asked_again_nothing_is_trained_and_another_teacher_labels_anew(rows: list[Row], run: RunFolder) -> None:
    files = {path: path.stat().st_mtime_ns for path in run.path.parent.rglob("*.safetensors")}
    assert rows_of(run, augmentation=("own", "none")) == rows
    assert {path: path.stat().st_mtime_ns for path in run.path.parent.rglob("*.safetensors")} == files
    other = rows_of(run, train_labels=["relabelled"], teacher_epochs=2, students=1)
    assert other[0].teacher["digest"] != rows[4].teacher["digest"]
    new = {path.name.partition("-")[0] for path in run.path.parent.rglob("*.safetensors") if path not in files}
    assert new == {"student", "scores"}


def test_students_of_the_own_protocol_keep_their_names(rows: list[Row], run: RunFolder, digits: Dataset) -> None:
    entrant = Entrant.of(run)
    plan = StudentPlan(
        folder=run.students, source=entrant.synset.header["tensors_sha256"], network=NETWORK,
        recipe=entrant.spec.student, stream=Stream(0).child("student", 1), classes=10, shape=(3, 32, 32), device=CPU,
        threads=1, pictures=lambda: pytest.fail("nothing is trained"),
    )  # fmt: skip
    assert plan.file.is_file() and not plan.ensure()


def test_the_labels_are_those_that_the_protocol_names(rows: list[Row], run: RunFolder, digits: Dataset) -> None:
    teacher = Teacher(digits, run.path.parent / FOLDER, "mlp", CPU, 1, 1)
    network = networks.build("mlp", channels=3, classes=10, size=(32, 32), rng=Stream(1))
    network.load_state_dict(safetensors.torch.load_file(teacher.plan("train").file))
    group = with_companions([Entrant.of(run)], Store(run.path.parent), digits)
    domains = domains_of(CorruptionSuite.clean_only("digits"), digits, None)
    mean, std = (torch.tensor(values)[:, None, None] for values in (digits.mean, digits.std))

    def seen(entrant: Entrant, labels: Any, loss: str = "cross-entropy") -> tuple[torch.Tensor, torch.Tensor]:
        evaluation = Evaluation(digits, CPU, 1, domains, labels=labels, teacher=teacher)
        return evaluation._pictures(entrant, 0, loss).batch(torch.arange(10), Stream(0))

    soft = group[0].synset.labels
    assert torch.equal(seen(group[0], "own")[1], soft)
    assert torch.equal(seen(group[0], "hard")[1], torch.tensor([4, *range(1, 10)]))
    assert torch.equal(seen(group[1], "hard")[1], torch.arange(10))
    for entrant in group:
        images, labels = seen(entrant, "relabelled")
        said = entrant.synset.normalization
        levels = images * torch.tensor(said["std"])[:, None, None] + torch.tensor(said["mean"])[:, None, None]
        expected = predict(network, (levels - mean) / std).softmax(1)
        assert torch.allclose(labels, expected, atol=1e-5) and not torch.allclose(labels[0], labels[1])
        assert torch.allclose(seen(entrant, "relabelled", "mse")[1], expected - 0.1, atol=1e-5)
    with pytest.raises(UsageError, match="by whom"):
        Evaluation(digits, CPU, 1, domains, labels="relabelled")
    plain = Evaluation(digits, CPU, 1, domains, augmentation="none").recipe_of(group[0].spec, group[0].synset)
    assert (plain.augmentation, plain.cutmix) == ("none", 0.0) and group[0].spec.student.cutmix == 0.5


def test_the_commands_name_the_protocol_of_each_row(rows: list[Row], run: RunFolder) -> None:
    places = ("--store", run.path.parent, "--limit", 40, "--threads", 1, "--offline")
    asked = ("--train-labels", "own", "--train-labels", "relabelled", "--teacher", "mlp", "--teacher-epochs", 1)
    text = invoke("evaluate", run.path, *asked, *places).out
    lines = text.splitlines()
    assert [line.partition("  ")[0].partition("[")[2] for line in lines[2:6]] == ["", "relabelled]"] * 2
    assert "Relabelled: every picture once, by mlp" in text and "Rows without a mark: the set's own labels" in text
    # Each against the control of its own protocol.
    verdicts = [line for line in lines if " against " in line]
    assert [line.count("[relabelled]") for line in verdicts] == [0, 2]
    found = json.loads(invoke("evaluate", run.path, *asked, *places, "--format", "json").out)["rows"]
    assert [(row["train_labels"], row["augmentation"], "teacher" in row) for row in found] == [
        ("own", "own", False), ("relabelled", "own", True),
    ] * 2  # fmt: skip
    assert found[1]["clean"] == rows[4].clean.to_mapping() and found[1]["own_labels"] == "probability"
    refused = ("corrupt-eval", "--suite", "digitsc", run.path, "--protocol", "fred-literal", "--train-labels", "hard")
    assert "fred-literal" in invoke(*refused, *places).problem()[0]
    assert "unknown network" in invoke("evaluate", run.path, "--teacher", "mpl", *places).problem()[0]
    assert "epochs" in invoke("evaluate", run.path, "--teacher-epochs", 0, *places).problem()[0]


def _cells(run: RunFolder) -> dict[str, Path]:
    return {folder.parent.name: folder for folder in run.path.parent.glob("*/cells")}


def test_a_result_file_holds_the_protocol_and_is_verified_by_it(
    rows: list[Row], run: RunFolder, small_suite: Path, tmp_path: Path
) -> None:
    asked = ("--train-labels", "relabelled", "--teacher", "mlp", "--teacher-epochs", 1)
    places = ("--store", run.path.parent, "--limit", 40, "--severity", 1, "--threads", 1, "--offline")
    done = invoke("submit", run.path, "--out", tmp_path / "told.json", "--suite", small_suite, *asked, *places)
    assert done.code == 0, done.err
    document = json.loads((tmp_path / "told.json").read_text())
    assert {row["teacher"]["epochs"] for row in document["scores"][0]["rows"].values()} == {1}
    verify = ("verify", tmp_path / "told.json", "--store", run.path.parent, "--format", "json")
    found = {check["check"]: check["result"] for check in json.loads(invoke(*verify).out)}
    assert {found[name] for name in found if name.endswith(": predictions")} == {"ok"}
    for row in document["scores"][0]["rows"].values():
        row["teacher"]["digest"] = "ab" * 8
    (tmp_path / "told.json").write_text(json.dumps(document))
    found = {check["check"]: check["result"] for check in json.loads(invoke(*verify).out)}
    assert {found[name] for name in found if name.endswith(": predictions")} == {"not checked"}
    for row in document["scores"][0]["rows"].values():
        row.update(train_labels="own", teacher={})
    (tmp_path / "told.json").write_text(json.dumps(document))
    found = {check["check"]: check["result"] for check in json.loads(invoke(*verify).out)}
    assert "ok" not in {found[name] for name in found if name.endswith("entry: predictions")}
