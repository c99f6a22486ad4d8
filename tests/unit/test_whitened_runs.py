"""Whitening as a property of a run: what it sees, what it is tested on, what its artefact says, what is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from spine import set_of, spec_of
from torch.nn.functional import cross_entropy

import fredbench
from fredbench import networks
from fredbench.datasets import Dataset, Split, load_dataset
from fredbench.evaluation.domains import TestDomains
from fredbench.evaluation.entrants import Entrant
from fredbench.evaluation.scoring import Evaluation
from fredbench.evaluation.students import stored_predictions
from fredbench.execution.api import evaluate
from fredbench.foundation.errors import ArtefactError, CompatibilityError, DataError, FredbenchError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.recipes.reproducing import distill_command
from fredbench.recipes.resolution import Request, explained, resolve
from fredbench.runs import distillation
from fredbench.runs.assembly import Distillation, expert_spec, real_pictures
from fredbench.runs.auditing import audit
from fredbench.runs.exporting import export, rounding_loss
from fredbench.runs.preprocessing import FOLDER, described, fit_of
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder, Store
from fredbench.runs.synset import Synset, header_digest
from fredbench.suites.corruption import CorruptionSuite, suite_named
from fredbench.training import batches
from fredbench.training.experts import FOLDER as EXPERTS
from fredbench.training.loop import predict

CPU = torch.device("cpu")
RECIPES = ("mtt", "frepo", "kip")
NETWORK = "convnet-d2-w4-in"
# One step of one student of one expert, on all synthetic pictures, nothing augmented: what can be done by hand.
BY_HAND = ("objective.steps=1", "objective.experts=1", "objective.expert_epochs=1", "objective.start_epochs=1")
BY_HAND += ("objective.augmentation=none", "objective.expert_batch=100000", "objective.batch=0")


def standardised(pixels: np.ndarray, recipe: str, dataset: Dataset) -> np.ndarray:
    """uint8 (n, h, w, c) to what a recipe takes, float64 (n, c h w)."""
    levels = pixels.astype(np.float64) / 255
    if recipe != "mtt":
        levels = (levels - np.array(dataset.mean)) / np.array(dataset.std)
    flat = levels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    if recipe == "kip":
        flat = flat - flat.mean(axis=1, keepdims=True)
        flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return flat


def whitening_by_hand(fitted_to: np.ndarray, recipe: str, dataset: Dataset) -> Callable[[np.ndarray], torch.Tensor]:
    """The recipes by their definitions, through a singular value decomposition of the data."""
    data = standardised(fitted_to, recipe, dataset)
    mean = np.zeros(data.shape[1]) if recipe == "kip" else data.mean(axis=0)
    _, singular, axes = np.linalg.svd(data - mean, full_matrices=False)
    values = singular**2 / (len(data) - (recipe == "mtt"))
    floor = 0.1 if recipe == "mtt" else 0.1 * values.sum() / data.shape[1]

    def white(pixels: np.ndarray) -> torch.Tensor:
        centred = standardised(pixels, recipe, dataset) - mean
        inside = centred @ axes.T
        # Directions without variance are divided by the root of the floor alone.
        made = (inside / np.sqrt(values + floor)) @ axes + (centred - inside @ axes) / np.sqrt(floor)
        return torch.from_numpy(made).reshape(len(pixels), dataset.channels, *dataset.size)

    return white


@pytest.fixture
def doubled() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def small() -> Dataset:
    return set_of(3, (8, 8), per_class=20)


@pytest.fixture(scope="module")
def many() -> Dataset:
    """More pictures than a picture has scalars, so that the covariance itself is decomposed."""
    return set_of(2, (4, 4), per_class=60)


def cifar10(*, count: int = 1200) -> Dataset:
    """The first pictures of CIFAR-10."""
    try:
        whole = load_dataset("cifar10", offline=True)
        train, test = whole.train, whole.test
    except FredbenchError as error:
        pytest.skip(f"CIFAR-10 is not here: {error}")
    splits = [Split(split.images[:kept], split.labels[:kept]) for split, kept in ((train, count), (test, 40))]
    return Dataset.from_splits("cifar10-first", *splits, whole.classes)


def run_of(store: Path, dataset: Dataset, *overrides: str, **asked: Any) -> tuple[Spec, RunFolder]:
    spec = spec_of(dataset, overrides=overrides, **asked)
    folder = Store(store).folder_for(spec)
    distillation.run(spec, dataset, folder)
    return spec, folder


def whiten(recipe: str) -> str:
    return f"data.whitening={recipe}"


def by_hand_throughout(dataset: Dataset, recipe: str, store: Path) -> None:
    """An expert's first step, the matching loss and a student's logits, in float64."""
    spec, folder = run_of(
        store,
        dataset,
        whiten(recipe),
        *BY_HAND,
        objective="tm",
        parameterization="pixels",
        iterations=1,
        preset="paper",
    )
    labels = torch.from_numpy(dataset.train.labels)
    by_hand = whitening_by_hand(dataset.train.images, recipe, dataset)
    white = by_hand(dataset.train.images)
    (shard,) = (store / EXPERTS).glob("*/expert-0000.safetensors")
    rows = safetensors.torch.load(shard.read_bytes())["weights"]
    assert rows.dtype == torch.float64

    def stepped(weights: torch.Tensor, pictures: torch.Tensor, classes: torch.Tensor, rate: float) -> torch.Tensor:
        network = networks.build(
            spec.network, channels=3, classes=len(dataset.classes), size=dataset.size, rng=Stream(0)
        )
        torch.nn.utils.vector_to_parameters(weights.clone(), network.parameters())
        gradients = torch.autograd.grad(cross_entropy(network(pictures), classes), list(network.parameters()))
        return weights - rate * torch.cat([gradient.flatten() for gradient in gradients])

    torch.testing.assert_close(rows[1], stepped(rows[0], white, labels, 0.01), atol=1e-10, rtol=1e-10)

    # The start holds real pictures, whitened; the loss of the first iteration is of them.
    start = Distillation(spec.start(), dataset, CPU)
    pictures, classes = start.synthetic.decode()
    exactly = "donot_use_mm_for_euclid_dist"
    apart = torch.cdist(pictures.detach().flatten(1), white.flatten(1), compute_mode=exactly).min(dim=1)
    assert float(apart.values.max()) < 1e-9 and torch.equal(labels[apart.indices], classes)
    student = stepped(rows[0], white[apart.indices], classes, spec.objective_settings["step_size"])
    loss = (student - rows[1]).square().sum() / (rows[0] - rows[1]).square().sum()
    logged = json.loads(folder.progress_file.read_text().splitlines()[-1])
    assert logged["loss"] == pytest.approx(float(loss), rel=1e-10, abs=1e-10)

    # Test pictures are whitened by the fit to the training pictures.
    torch.set_default_dtype(torch.float32)
    entrant = Entrant.of(folder)
    evaluation = Evaluation(dataset, CPU, 1, TestDomains(CorruptionSuite.clean_only(dataset.name), dataset, (1,)))
    evaluation.rows([entrant], ["clean"])
    torch.set_default_dtype(torch.float64)
    (plan, *_) = evaluation._plans(entrant)[spec.student_network]
    network = plan.load()
    (prepared,) = evaluation._prepared(entrant, "clean", [dataset.test.images])
    wanted = by_hand(dataset.test.images)
    found, logits = predict(network, prepared), network.eval()(wanted).detach()
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, logits, atol=1e-10, rtol=1e-9)
    plain = torch.from_numpy(standardised(dataset.test.images, "frepo", dataset)).reshape(wanted.shape)
    assert not torch.allclose(found, network(plain), atol=1e-3)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_is_what_functions_composed_by_hand_give(
    small: Dataset, recipe: str, tmp_path: Path, doubled: None
) -> None:
    by_hand_throughout(small, recipe, tmp_path)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_of_more_pictures_than_scalars(many: Dataset, recipe: str, tmp_path: Path, doubled: None) -> None:
    by_hand_throughout(many, recipe, tmp_path)


def test_the_same_of_the_digits(tmp_path: Path, doubled: None) -> None:
    by_hand_throughout(load_dataset("digits"), "mtt", tmp_path)


@pytest.mark.slow
def test_the_same_of_cifar10(tmp_path: Path, doubled: None) -> None:
    by_hand_throughout(cifar10(), "mtt", tmp_path)


def test_the_fit_is_of_the_training_pictures_without_validation(small: Dataset) -> None:
    specs = [spec_of(small, overrides=(whiten("mtt"),), preset=preset) for preset in ("paper", "quick")]
    whole, held_out = (real_pictures(spec, small, CPU) for spec in specs)
    assert len(held_out) < len(whole)
    kept = held_out.pixels.permute(0, 2, 3, 1).numpy()
    wanted = whitening_by_hand(kept, "mtt", small)(kept[:5]).float()
    torch.testing.assert_close(held_out.images(torch.arange(5)), wanted, atol=1e-5, rtol=1e-5)
    prints = [described(spec.data_settings, small, spec.split)["fingerprint"] for spec in specs]
    assert prints[0] != prints[1]


def test_a_picture_has_the_same_bits_in_every_batch(small: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    real = real_pictures(spec_of(small, overrides=(whiten("frepo"),)), small, CPU)
    everything = real.images(torch.arange(len(real)))
    for chosen in ([3], [7, 3], [3, 1, 2, 3, 9]):
        assert torch.equal(real.images(torch.tensor(chosen)), everything[chosen])
    # Too many to keep: batch by batch, and equal batches are equal still.
    monkeypatch.setattr(batches, "_KEPT_BYTES", 0)
    few = torch.tensor([7, 3])
    assert torch.equal(real.images(few), real.images(few))
    torch.testing.assert_close(real.images(few), everything[few])


def test_corrupted_pictures_are_whitened_after_they_were_corrupted(tmp_path: Path) -> None:
    """Equal predictions of the same students as by a script that whitens each corrupted array."""
    digits, suite = load_dataset("digits"), suite_named("digitsc")
    suite = dataclasses.replace(suite, corruptions=suite.corruptions[::6])
    overrides = (whiten("mtt"), "student.epochs=20")
    spec, folder = run_of(tmp_path, digits, *overrides, objective="dm", parameterization="pixels", ipc=10)
    rows = evaluate(
        [folder], suite=suite, severities=[3], limit=50, students=1, store=tmp_path, dataset=digits, threads=1
    )
    assert [row.start or row.control for row in rows] == [False, True, True]
    domains = TestDomains(suite, digits, (3,), limit=50)
    evaluation = Evaluation(digits, CPU, 1, domains, students=1)
    kept = real_pictures(spec, digits, CPU).pixels.permute(0, 2, 3, 1).numpy()
    data = standardised(kept, "mtt", digits)
    mean, normalization = data.mean(axis=0), Entrant.of(folder).synset.normalization
    fit = fit_of(normalization, digits, tmp_path / FOLDER)
    assert fit is not None and np.allclose(fit.mean.numpy(), mean)
    seen = set()
    for run in Store(tmp_path).runs():
        entrant = Entrant.of(run)
        assert entrant.spec.data_settings == spec.data_settings
        (plan,) = evaluation._plans(entrant)[spec.student_network]
        for name in domains.names():
            (pixels,) = domains.pictures(name)
            white = (standardised(pixels, "mtt", digits) - mean) @ fit.transform.numpy()
            logits = predict(plan.load(), torch.from_numpy(white).float().reshape(-1, 3, 32, 32))
            stored = stored_predictions(plan.scores_file(evaluation._domain_key(name, normalization)))
            assert torch.equal(stored.predicted[0].long(), logits.argmax(dim=1)), name
            seen |= set(stored.predicted[0].tolist())
    assert len(seen) > 3


def test_experts_of_whitened_and_plain_pictures_lie_apart(small: Dataset, tmp_path: Path) -> None:
    tm = {"objective": "tm", "parameterization": "pixels"}
    plain, white = spec_of(small, **tm), spec_of(small, overrides=(whiten("mtt"),), **tm)
    assert "data" not in expert_spec(plain, small).to_mapping()
    assert expert_spec(white, small).to_mapping()["data"] == {"whitening": "mtt", "statistics": "own"}
    for spec in (plain, white):
        distillation.run(spec, small, Store(tmp_path).folder_for(spec))
    assert len(list((tmp_path / EXPERTS).iterdir())) == 2
    assert len(list((tmp_path / FOLDER).iterdir())) == 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_companions_and_artefact_say_so(small: Dataset, recipe: str, tmp_path: Path) -> None:
    spec, folder = run_of(tmp_path, small, whiten(recipe), parameterization="pixels")
    assert "[data]" in folder.spec_file.read_text() and folder.spec() == spec
    assert spec.control().data_settings == spec.start().data_settings == spec.data_settings
    synset = fredbench.load(folder.path)
    said = synset.normalization
    assert (said["kind"], said["recipe"], said["eps"], said["split"]) == ("zca", recipe, 0.1, spec.split)
    assert said["mean"] == ([0.0] * 3 if recipe == "mtt" else list(small.mean))
    assert f"ZCA-whitened (recipe {recipe}" in synset.card() and said["fingerprint"][:16] in synset.card()
    assert all(check.holds for check in audit(folder.path)) and "whitening" in {c.what for c in audit(folder.path)}
    assert folder.synset_file.stat().st_size < 20_000
    assert f"--set data.whitening={recipe}" in distill_command(spec, small)
    assert "# not exactly" not in distill_command(spec, small)


@pytest.mark.parametrize("recipe", ["mtt", "frepo"])
def test_looking_undoes_the_whitening(small: Dataset, recipe: str, tmp_path: Path) -> None:
    """The start holds real pictures: they come back as they were."""
    spec = spec_of(small, overrides=(whiten(recipe),), parameterization="pixels").start()
    folder = Store(tmp_path).folder_for(spec)
    distillation.run(spec, small, folder)
    synset = fredbench.load(folder.path)
    for refused in (
        synset.pixels,
        lambda: rounding_loss(synset),
        lambda: export(synset, "imagefolder", tmp_path / "x"),
    ):
        with pytest.raises(CompatibilityError, match="not at hand"):
            refused()
    assert not (tmp_path / "x").exists()
    assert not synset.find_fit(tmp_path / "elsewhere") and synset.find_fit(tmp_path / FOLDER)
    real = {picture.tobytes() for picture in small.train.images}
    assert all(picture.permute(1, 2, 0).contiguous().numpy().tobytes() in real for picture in synset.pixels())
    assert rounding_loss(synset)[0] < 1e-3
    export(synset, "imagefolder", tmp_path / "x")
    assert "the whitening is undone" in (tmp_path / "x" / "NOTE.md").read_text()
    file = next((tmp_path / "x").glob("*/*.png"))
    assert np.asarray(Image.open(file)).tobytes() in real
    export(synset, "npz", tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as opened:
        assert json.loads(str(opened["normalization"])) == synset.normalization
        np.testing.assert_array_equal(opened["images"], synset.images.numpy())
    export(synset, "safetensors", tmp_path / "x.safetensors")
    with safetensors.safe_open(tmp_path / "x.safetensors", "pt") as opened:
        assert json.loads(opened.metadata()["fredbench"])["normalization"] == synset.normalization


def altered(folder: RunFolder, **normalization: Any) -> None:
    """The artefact with other words about its whitening, its checksum mended."""
    synset = fredbench.load(folder.path)
    header = {**synset.header, "normalization": {**synset.normalization, **normalization}}
    Synset(synset.tensors, {**header, "header_sha256": header_digest(header)}).save(folder.synset_file)


def test_another_fit_is_refused(small: Dataset, tmp_path: Path) -> None:
    _, folder = run_of(tmp_path, small, whiten("mtt"), parameterization="pixels")
    said = fredbench.load(folder.path).normalization
    for other in ({"fingerprint": "0" * 64}, {"recipe": "frepo"}, {"eps": 0.2}):
        altered(folder, **{**said, **other})
        with pytest.raises(ArtefactError, match="not its run's"):
            evaluate([folder], store=tmp_path, dataset=small, threads=1)
    altered(folder, **said)
    with pytest.raises(DataError, match="fitted to other pictures"):
        fredbench.load(folder.path).fit_to(set_of(3, (8, 8), per_class=21))
    altered(folder, kind="zca2")
    with pytest.raises(ArtefactError, match="does not describe"):
        fredbench.load(folder.path)


def test_a_damaged_fit_of_a_store_is_refused(small: Dataset, tmp_path: Path) -> None:
    spec, _ = run_of(tmp_path, small, whiten("mtt"), parameterization="pixels")
    (file,) = (tmp_path / FOLDER).iterdir()
    whole = file.read_bytes()
    for data in (whole[:100], whole[:-8] + bytes(8), b""):
        file.write_bytes(data)
        with pytest.raises(ArtefactError, match=file.name) as caught:
            real_pictures(spec, small, CPU, fits=tmp_path / FOLDER)
        assert "delete it" in str(caught.value.hint)
    file.unlink()
    real_pictures(spec, small, CPU, fits=tmp_path / FOLDER)
    assert file.read_bytes() == whole


def test_the_literal_protocol_is_refused_before_anything_is_made(small: Dataset, tmp_path: Path) -> None:
    _, folder = run_of(tmp_path, small, whiten("kip"), parameterization="pixels")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CompatibilityError, match="ZCA-whitened"):
        evaluate([folder], protocol="fred-literal", store=tmp_path, dataset=small, threads=1)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("shape", "asked", "said"),
    [((8, 8, 1), {"overrides": [whiten("mtt")]}, "one channel"),
     ((128, 128, 3), {"overrides": [whiten("frepo")]}, "19 GB"),
     ((8, 8, 3), {"overrides": [whiten("zca")]}, "'mtt' or 'frepo' or 'kip'"),
     ((8, 8, 3), {"overrides": ["data.statistics=cifar"]}, "'own' or 'cifar10'"),
     ((8, 8, 3), {"overrides": ["data.eps=1"]}, "unknown setting 'eps'"),
     ((8, 8, 3), {"overrides": [whiten("mtt"), "data.statistics=cifar10"]}, "as they are"),
     ((8, 8, 1), {"overrides": ["data.statistics=cifar10"]}, "3 channels"),
     ((8, 8, 3), {"overrides": [whiten("mtt")], "parameterization": "idc"}, "normalises them itself")],
)  # fmt: skip
def test_what_cannot_be_whitened_is_refused(shape: tuple[int, int, int], asked: dict[str, Any], said: str) -> None:
    dataset = set_of(2, shape[:2], channels=shape[2], per_class=4)
    with pytest.raises((CompatibilityError, UsageError), match=said) as caught:
        spec_of(dataset, **asked)
    assert caught.value.hint


def as_named(name: str, classes: int = 10, size: tuple[int, int] = (32, 32)) -> Dataset:
    made = set_of(classes, size, per_class=1, name=name)
    return dataclasses.replace(made, normalization=((0.4,) * 3, (0.2,) * 3))


@pytest.mark.parametrize(
    ("dataset", "ipc", "method", "data"),
    [("cifar10", 1, "tm", ("mtt", None)), ("cifar10", 10, "tm", ("mtt", None)), ("cifar10", 50, "tm", None),
     ("cifar10", 2, "tm", None), ("cifar100", 1, "tm", ("mtt", None)), ("cifar100", 50, "tm", ("mtt", None)),
     ("cifar100", 10, "tm", (None, "cifar10")), ("cifar100", 10, "fred", (None, "cifar10")),
     ("cifar100", 1, "cafe", (None, "cifar10")), ("cifar100", 1, "idc", (None, "cifar10")),
     ("cifar100", 1, "dm", None), ("cifar10", 1, "fred", None), ("cifar10", 10, "haba", ("mtt", None)),
     ("cifar100", 10, "haba", ("mtt", None)), ("svhn", 1, "haba", None), ("cifar10", 1, "frepo", ("frepo", None)),
     ("mnist", 1, "frepo", None), ("digits", 1, "frepo", None), ("cifar10", 1, "kip", ("kip", None))],
)  # fmt: skip
def test_recipes_whiten_where_the_printed_runs_do(
    dataset: str, ipc: int, method: str, data: tuple[str | None, str | None] | None
) -> None:
    pictures = as_named(dataset, 100 if dataset == "cifar100" else 10)
    found = explained(Request(ipc=ipc, method=method), pictures)["data"]
    values = {name: setting.value for name, setting in found.items()}
    whitening, statistics = data or (None, None)
    wanted = {"whitening": whitening, "statistics": statistics}
    assert values == {name: value for name, value in wanted.items() if value is not None}
    assert all(setting.origin in {"script", "inferred"} and setting.why for setting in found.values())
    for preset in ("fair", "quick"):
        assert not explained(Request(ipc=ipc, method=method, preset=preset), pictures)["data"]
        assert not resolve(
            Request(ipc=ipc, method=method, preset=preset), pictures, device="cpu", threads=1
        ).data_settings


def test_the_recipe_tells_whitening_with_its_source() -> None:
    cifar = as_named("cifar10")
    sections = explained(Request(ipc=1, method="tm"), cifar)
    assert sections["data"]["whitening"].value == "mtt" and "kornia" in sections["data"]["whitening"].why
    assert sections["parameterization"]["lr"].value == 100.0 and sections["objective"]["start_epochs"].value == 2
    chosen = explained(Request(ipc=1, method="tm", overrides=("data.whitening=none",)), cifar)["data"]["whitening"]
    assert (chosen.value, chosen.origin) == ("none", "chosen") and "mtt" in chosen.why
    # FreD's published code never whitens: it is not the paper's, but it may be asked for.
    asked = resolve(Request(ipc=1, overrides=(whiten("frepo"),)), cifar, device="cpu", threads=1)
    assert asked.method == "fred" and asked.data_settings["whitening"] == "frepo"


def test_cifar10s_statistics_of_cifar10_are_its_own() -> None:
    """Two spellings, one spec."""
    published = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    cifar = dataclasses.replace(as_named("cifar10"), normalization=published)
    plain, spelt = (spec_of(cifar, overrides=o) for o in ((), ("data.statistics=cifar10",)))
    assert plain == spelt and plain.data_settings == {} and "data" not in plain.to_mapping()
    other = as_named("cifar100", 100)
    assert described({"statistics": "cifar10"}, other, "train") == {
        "kind": "mean-std", "mean": list(published[0]), "std": list(published[1]),
    }  # fmt: skip
    real = real_pictures(spec_of(other, overrides=("data.statistics=cifar10",), preset="paper"), other, CPU)
    levels = real.pixels[:2].double() / 255
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in published)
    torch.testing.assert_close(real.images(torch.arange(2)).double(), (levels - mean) / std, atol=1e-5, rtol=1e-5)
