"""HaBa by its name, from the command line to students: verified, shown, exported, killed and taken up again."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from commands import Child, invoke, waiting
from spine import set_of
from spine import spec_of as small_spec_of

import fredbench
from fredbench.datasets import load_dataset
from fredbench.evaluation.domains import TestDomains
from fredbench.evaluation.entrants import Entrant
from fredbench.evaluation.scoring import Evaluation
from fredbench.evaluation.students import predictions_on, stored_predictions
from fredbench.recipes import Case, look_up
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs import distillation
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder
from fredbench.suites.corruption import CorruptionSuite
from fredbench.training.batches import AlternativePictures

TINY = (
    *("--preset", "quick", "--network", "convnet-d3-w8-in", "--threads", "1", "--offline"),
    *("--set", "student.epochs=1", "--set", "student.students=2", "--set", "parameterization.extractor_width=8"),
)
SMALL = ("steps=2", "experts=1", "start_epochs=1", "expert_epochs=1", "expert_batch=1000")
SHORT = [word for name in SMALL for word in ("--set", f"objective.{name}")]
HALLUCINATORS = 5 * 5_568


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("store")
    command = ("distill", "digits", "--ipc", "1", "--method", "haba", "--iterations", "10", *TINY, *SHORT)
    made = invoke(*command, "--store", store)
    assert made.code == 0, made.err
    return made.folder


def test_the_file_stands_on_its_own_and_counts_what_it_holds(run: Path) -> None:
    synset = fredbench.load(run)
    synset.verify()
    assert invoke("verify", run).code == 0
    ledger = synset.ledger
    assert (ledger.params, ledger.decoded, ledger.decoder_scalars) == (30_720, 50, HALLUCINATORS)
    assert ledger.params_strict == 30_720 + HALLUCINATORS + 1
    assert synset.header["tensors"]["bases"] == "scalars" and synset.header["tensors"]["scale"] == "decoder"
    (line,) = (json.loads(text) for text in (run / "progress.jsonl").read_text().splitlines())
    assert {"loss", "step_size", "similarity", "extractor"} <= line.keys() and 0 < line["similarity"] < 1
    shown = json.loads(invoke("show", run, "--format", "json").out)
    assert any(str(HALLUCINATORS) in json.dumps(section) for section in shown.values())


def test_a_file_that_is_less_than_it_claims_is_found_out(run: Path, tmp_path: Path) -> None:
    text = (run / "synset.safetensors").read_bytes()
    with safetensors.safe_open(run / "synset.safetensors", framework="pt") as opened:
        metadata = opened.metadata()
    tensors = safetensors.torch.load(text)
    tensors["shift"] = tensors["shift"] + 1
    (tmp_path / "altered.safetensors").write_bytes(safetensors.torch.save(tensors, metadata=metadata))
    assert invoke("verify", tmp_path / "altered.safetensors").code == 1
    tensors["shift"] = tensors["shift"][:, :, :-1].contiguous()
    (tmp_path / "cut.safetensors").write_bytes(safetensors.torch.save(tensors, metadata=metadata))
    assert invoke("verify", tmp_path / "cut.safetensors").code == 1


@pytest.mark.parametrize("form", ["npz", "imagefolder"])
def test_all_renderings_are_exported(run: Path, tmp_path: Path, form: str) -> None:
    target = tmp_path / ("set.npz" if form == "npz" else "set")
    done = invoke("export", run, "--to", form, "--out", target)
    assert done.code == 0, done.err
    if form == "npz":
        with np.load(target) as stored:
            assert stored["images"].shape == (50, 3, 32, 32) and np.bincount(stored["labels"]).tolist() == [5] * 10
    else:
        assert len(list(target.rglob("*.png"))) == 50


def test_test_pictures_are_standardised_as_those_of_training(tmp_path: Path) -> None:
    """What is stored of a student of standardised batches is what it says of standardised test pictures."""
    small = set_of(3, (8, 8), per_class=12)
    overrides = ("student.standardise=batch", "student.epochs=1")
    network = "convnet-d2-w4-in"
    spec = small_spec_of(small, method="random", iterations=0, overrides=overrides, network=network)
    folder = RunFolder(tmp_path / "random")
    distillation.run(spec, small, folder)
    domains = TestDomains(CorruptionSuite.clean_only("small"), small, severities=(1,))
    evaluation = Evaluation(small, torch.device("cpu"), 1, domains, students=1)
    entrant = Entrant.of(folder)
    evaluation.rows([entrant], domains.names())
    ((plan,),) = evaluation._plans(entrant).values()
    key = evaluation._domain_key("clean", evaluation._normalization(entrant.synset))
    found = stored_predictions(plan.scores_file(key))
    pictures = evaluation._preprocessing(entrant)(small.test.images, torch.device("cpu"))
    wanted = {way: predictions_on(plan.load(), [pictures], small.test.labels, way) for way in ("batch", "none")}
    assert torch.equal(found.nll, wanted["batch"].nll) and not torch.allclose(found.nll, wanted["none"].nll)


def test_students_train_on_one_rendering_of_each_base(run: Path) -> None:
    entrant, digits = Entrant.of(RunFolder(run)), load_dataset("digits")
    domains = TestDomains(CorruptionSuite.clean_only("digits"), digits, severities=(1,), limit=20)
    evaluation = Evaluation(digits, torch.device("cpu"), 1, domains)
    pictures = evaluation._pictures(entrant, 0)
    assert isinstance(pictures, AlternativePictures) and len(pictures) == 10 and len(entrant.synset.images) == 50
    rows = fredbench.evaluate([run], store=run.parent, students=2, limit=50, threads=1)
    assert [(row.method, row.control, row.start) for row in rows] == [
        ("haba", False, False), ("haba", False, True), ("random", True, False)]  # fmt: skip
    assert [row.params for row in rows] == [30_720] * 3 and all(0 <= row.clean.mean <= 100 for row in rows)


def test_killed_and_run_again_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    command = ("distill", "digits", "--ipc", "1", "--objective", "dm", "--parameterization", "haba")
    command += ("--iterations", "8", "--set", "objective.batch_real=8", *TINY)
    untroubled = invoke(*command, "--store", tmp_path / "untroubled")
    assert untroubled.code == 0, untroubled.err
    child = Child(tmp_path / "log", *command, "--store", tmp_path / "runs", env={"FREDBENCH_CHECKPOINT_SECONDS": "0"})
    checkpoint = tmp_path / "runs" / untroubled.folder.name / "checkpoint.safetensors"
    for _ in waiting():
        if checkpoint.is_file() and int(safetensors.torch.load(checkpoint.read_bytes())["iteration"]) >= 2:
            break
        assert child.alive, child.errors()
    child.kill()
    assert child.outcome().code == -signal.SIGKILL
    saved = safetensors.torch.load(checkpoint.read_bytes())
    assert 2 <= int(saved["iteration"]) < 8 and any(name.startswith("auxiliary/optimiser") for name in saved)
    again = invoke(*command, "--store", tmp_path / "runs")
    assert again.code == 0, again.err
    for name in ("synset.safetensors", "progress.jsonl"):
        assert (again.folder / name).read_bytes() == (untroubled.folder / name).read_bytes(), name


def spec_of(dataset: str = "digits", preset: str = "paper", **asked: object) -> Spec:
    digits = load_dataset("digits")
    return resolve(Request(**{"ipc": 1, "preset": preset, **asked}), digits, device="cpu", threads=1)


def test_published_settings_and_the_scale_of_the_others() -> None:
    assert look_up(Case(objective="tm", parameterization="haba"), "run")["iterations"].value == 15_000

    def rates(objective: str, dataset: str = "cifar10", iterations: int = 15_000) -> tuple[float, float, str]:
        case = Case(objective=objective, parameterization="haba", dataset=dataset, iterations=iterations)
        found = look_up(case, "parameterization")
        return found["lr"].value, found["lr_hallucinators"].value, found["lr"].origin

    # The code's defaults, whatever the dataset; of one that it does not know nothing is published, and a short run of
    # TM is none of the published ones.
    assert rates("tm") == rates("tm", "svhn") == (100.0, 100.0, "script")
    assert rates("tm", iterations=300) == rates("tm", "own") == (1000.0, pytest.approx(0.1), "chosen")
    assert rates("tm", "digits") == (10.0, 0.01, "chosen")
    assert rates("dm") == (1.0, pytest.approx(1e-4), "chosen") and rates("dc")[0] == 0.1
    assert rates("kip")[:2] == (0.04, pytest.approx(0.004)) and rates("frepo")[0] == rates("frepo")[1]
    paper = spec_of(method="haba")
    assert paper.parameterization_settings["momentum"] == 0.95 and paper.objective_settings["step_size_momentum"] == 0.9
    assert (paper.parameterization_settings["extractor_width"], paper.iterations) == (128, 15_000)
    assert spec_of(method="haba", preset="quick").parameterization_settings["extractor_width"] == 32
    assert spec_of(objective="label-solve", parameterization="haba").parameterization_settings["contrast"] == 0.0


def test_table_2_counts_the_hallucinators() -> None:
    counted = spec_of(
        ipc=2, objective="dm", parameterization="haba", overrides=("parameterization.count_hallucinators=true",)
    )
    from fredbench.runs.assembly import Distillation

    run = Distillation(counted.start(), load_dataset("digits"), torch.device("cpu"))
    assert (run.ledger.params, run.ledger.decoder_scalars, run.ledger.decoded) == (30_720 + HALLUCINATORS, 0, 50)
    synset = run.synset(load_dataset("digits"))
    synset.verify()
    assert synset.ledger == run.ledger and synset.ledger.params <= counted.budget == 61_440
