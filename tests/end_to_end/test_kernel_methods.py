"""KIP, Label Solve and FRePo by name, tiny, on real digits: artefact, ledger, students, resuming with the pool."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import safetensors.torch
from commands import TINY, Child, invoke, run_in_child, waiting, whole_files

import fredbench

METHODS = {
    "kip": ("--set", "objective.kernel=fc2"),
    "label-solve": (),
    "frepo": ("--network", "frepo-w4-bn", "--set", "objective.pool=2", "--set", "objective.max_age=4"),
}
ITERATIONS = 30


def command(method: str, *more: object) -> tuple[object, ...]:
    return ("distill", "digits", "--ipc", "1", "--preset", "quick", *TINY, "--method", method, *METHODS[method], *more)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.mark.parametrize("method", METHODS)
def test_by_name(method: str, store: Path) -> None:
    made = invoke(*command(method, "--iterations", 3, "--store", store))
    assert made.code == 0, made.err
    assert invoke("verify", made.folder).code == 0
    synset = fredbench.load(made.folder)
    assert synset.images.shape == (10, 3, 32, 32) and synset.labels.shape == (10, 10)
    assert synset.header["labels"]["kind"] == "centred" and synset.header["labels"]["learned"]
    ledger = synset.ledger
    assert (ledger.params, ledger.label_scalars, ledger.params_strict) == (30_720, 100, 30_820)
    assert "centred, learned" in synset.card()
    scored = invoke("evaluate", made.folder, "--store", store, "--offline", "--format", "json", "--limit", "100")
    assert scored.code == 0, scored.err
    rows = json.loads(scored.out)["rows"]
    assert {row["method"] for row in rows} == {method, "random"} and len(rows) == 3


@pytest.mark.parametrize("method", ["kip", "frepo"])
def test_killed_and_run_again_gives_the_same_bytes(method: str, tmp_path: Path) -> None:
    plain = run_in_child(tmp_path / "log", *command(method, "--iterations", ITERATIONS, "--store", tmp_path / "plain"))
    assert plain.code == 0, plain.err
    again = command(method, "--iterations", ITERATIONS, "--store", tmp_path / "broken")
    checkpoint = tmp_path / "broken" / plain.folder.name / "checkpoint.safetensors"
    reached = []
    for goal in (3, 15):
        child = Child(tmp_path / "log", *again, env={"FREDBENCH_CHECKPOINT_SECONDS": "0"})
        for _ in waiting():
            if checkpoint.is_file() and _iteration(checkpoint) >= goal:
                break
            assert child.alive, child.errors()
        child.kill()
        assert child.outcome().code == -signal.SIGKILL
        reached.append(_iteration(checkpoint))
        whole_files(checkpoint.parent)
    assert reached[0] < reached[1] < ITERATIONS
    saved = safetensors.torch.load(checkpoint.read_bytes())
    assert ("objective/1/weights/classifier.weight" in saved) == (method == "frepo")
    last = invoke(*again)
    assert last.code == 0, last.err
    for name in ("synset.safetensors", "progress.jsonl", "spec.toml"):
        assert (last.folder / name).read_bytes() == (plain.folder / name).read_bytes(), name


def _iteration(checkpoint: Path) -> int:
    return int(safetensors.torch.load(checkpoint.read_bytes())["iteration"])


@pytest.mark.parametrize("objective", ["kip", "frepo", "dm"])
@pytest.mark.parametrize("transform", ["dft", "dwt"])
def test_other_transforms_of_fred_under_every_objective(objective: str, transform: str, tmp_path: Path) -> None:
    network = ("--network", "frepo-w4-bn") if objective == "frepo" else ()
    chosen = (
        "--objective",
        objective,
        "--parameterization",
        "fred",
        "--set",
        f"parameterization.transform={transform}",
    )
    made = invoke(
        *("distill", "digits", "--ipc", "1", "--preset", "quick", *TINY, *chosen, *network),
        *("--iterations", 2, "--store", tmp_path),
    )
    assert made.code == 0, made.err
    synset = fredbench.load(made.folder)
    assert synset.header["parameterization"]["settings"]["transform"] == transform
    assert synset.ledger.params == 30_720 and synset.ledger.decoded == 40
    assert invoke("verify", made.folder).code == 0


def test_published_recipes_are_filled_in() -> None:
    from fredbench.datasets import load_dataset
    from fredbench.recipes.resolution import Request, resolve

    digits = load_dataset("digits", offline=True)
    frepo = resolve(Request(ipc=1, method="frepo"), digits, device="cpu", threads=1)
    assert (frepo.iterations, frepo.network, frepo.student_network) == (
        500_000,
        "frepo-d3-w128-bn",
        "frepo-d3-w128-none",
    )
    assert frepo.parameterization_settings == {
        "lr": 3e-4,
        "momentum": 0.5,
        "init": "real",
        "optimiser": "lamb",
        "final": 0.1,
    }
    student = frepo.student
    assert (student.epochs, student.warmup, student.lr, student.optimiser) == (1000, 500, 3e-4, "adam")
    assert (student.schedule, student.final, student.loss, student.strength) == ("cosine", 0.01, "mse", "frepo-code")
    fifty = resolve(Request(ipc=100, method="frepo"), digits, device="cpu", threads=1).student
    assert (fifty.epochs, fifty.warmup, fifty.batch_size) == (5000, 250, 500)
    kip = resolve(Request(ipc=1, method="kip"), digits, device="cpu", threads=1)
    assert (kip.student_network, kip.student.lr_unit, kip.student.weight_decay) == ("kip-d3-w1024", "stable", 0.01)
    assert kip.label_settings["lr"] == 0.04 and kip.objective_settings["kernel"] == "fc1"
