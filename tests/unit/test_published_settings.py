"""Settings of the preset `paper`, cell by cell, against what the authors' scripts, READMEs and threads say."""

from __future__ import annotations

import dataclasses

import pytest
from spine import set_of

from fredbench.datasets.catalogue import plain_name
from fredbench.foundation.config import from_mapping
from fredbench.objectives.trajectory import TMConfig
from fredbench.recipes import METHODS, Case, look_up
from fredbench.recipes.notes import notes_of
from fredbench.recipes.resolution import Request, resolve
from fredbench.recipes.settings import Setting
from fredbench.training.augmentation import OPERATIONS


def setting(section: str, name: str, method: str = "any", **facts: object) -> Setting | None:
    """What the recipes say of one value for a case, CIFAR-10 at the whole length unless `facts` say otherwise."""
    usual: dict[str, object] = {"dataset": "cifar10", "iterations": 15_000, "method": method}
    if section == "student":
        usual |= {"pictures": 10, "augmented": True}
    if section == "run":
        usual.pop("iterations")
    return look_up(Case(**{**usual, **facts}), section).get(name)


def value(section: str, name: str, method: str = "any", **facts: object) -> object:
    found = setting(section, name, method, **facts)
    assert found is not None, (section, name, facts)
    return found.value


LARGE = {"size": (128, 128)}


@pytest.mark.parametrize(
    ("dataset", "ipc", "batch", "origin"),
    [("cifar10", 1, 0, "script"), ("cifar10", 10, 0, "chosen"), ("cifar10", 50, 500, "inferred"),
     ("cifar10", 51, 500, "inferred"), ("svhn", 50, 500, "inferred"), ("svhn", 10, 0, "chosen"),
     ("cifar100", 1, 100, "inferred"), ("cifar100", 10, 1000, "inferred"), ("cifar100", 50, 125, "inferred"),
     ("imagenette", 1, 0, "inferred"), ("imagenette", 2, 80, "inferred"), ("imagesquawk", 10, 20, "inferred")],
)  # fmt: skip
def test_fred_shows_a_step_of_trajectories_what_its_scripts_could_hold(
    dataset: str, ipc: int, batch: int, origin: str
) -> None:
    facts = {"dataset": dataset, "ipc": ipc, **(LARGE if dataset.startswith("image") else {})}
    found = setting("objective", "batch", "fred", objective="tm", parameterization="fred", **facts)
    assert found is not None and (found.value, found.origin) == (batch, origin)
    # What is not published belongs to `paper` alone: `fair` shows all pictures, as everywhere.
    assert value("objective", "batch", "fred", objective="tm", parameterization="fred", preset="fair", **facts) == 0


def test_the_reason_of_a_batch_is_its_memory() -> None:
    """24.6 GB were measured for 160 pictures in 50 steps: 12,800 in 80 are 128 times as much."""
    found = setting("objective", "batch", objective="tm", parameterization="fred", dataset="cifar100", ipc=50)
    assert found is not None and f"{24.6 * 12_800 * 80 / 8000:,.0f} GB" in found.why and "12,800 in 80" in found.why
    found = setting(
        "objective", "batch", objective="tm", parameterization="fred", dataset="imagenette", ipc=10, **LARGE
    )
    assert found is not None and "787 GB" in found.why


def test_tiny_imagenet_has_rows_of_its_own_in_freds_table() -> None:
    facts = {"dataset": "tiny-imagenet", "size": (64, 64), "ipc": 50}
    found = setting("objective", "steps", objective="tm", parameterization="fred", **facts)
    assert found is not None and (found.value, found.origin) == (40, "script")
    assert (
        setting("objective", "steps", objective="tm", parameterization="fred", **{**facts, "ipc": 20}).origin
        == "chosen"
    )


@pytest.mark.parametrize(("preset", "rate", "origin"), [("paper", 1e5, "inferred"), ("fair", 1000.0, "script")])
def test_three_sources_give_three_rates_of_mtt_on_imagenet(preset: str, rate: float, origin: str) -> None:
    facts = {"objective": "tm", "dataset": "imagewoof", "preset": preset, **LARGE}
    found = setting("parameterization", "lr", "tm", **facts)
    assert found is not None and (found.value, found.origin) == (rate, origin)
    assert preset == "fair" or all(word in found.why for word in ("disagree", "1e5", "1000", "1e4"))


HABA = {"objective": "tm", "parameterization": "haba"}


@pytest.mark.parametrize("dataset", ["cifar10", "svhn", "cifar100", "imagenette"])
def test_haba_moves_bases_and_hallucinators_at_100_on_every_published_dataset(dataset: str) -> None:
    for name in ("lr", "lr_hallucinators"):
        found = setting("parameterization", name, "haba", dataset=dataset, **HABA)
        assert found is not None and (found.value, found.origin) == (100.0, "script")
        # A run of hundreds of iterations is none of those; nor is a storage's own under another objective.
        assert value("parameterization", name, "haba", dataset=dataset, iterations=300, **HABA) != 100.0
    assert value("parameterization", "lr", "haba", dataset=dataset, **{**HABA, "objective": "dm"}) != 100.0


@pytest.mark.parametrize(
    ("dataset", "ipc", "row", "origin"),
    [("cifar10", 10, (30, 2, 20, 0), "script"), ("cifar100", 1, (20, 3, 20, 0), "script"),
     ("cifar100", 10, (20, 2, 20, 0), "script"), ("cifar100", 50, (80, 2, 40, 125), "script"),
     ("imagenette", 1, (20, 2, 10, 0), "script"), ("imagenette", 10, (20, 2, 10, 20), "script"),
     ("svhn", 10, (30, 2, 15, None), "inferred")],
)  # fmt: skip
def test_haba_matches_as_mtt_where_its_readme_says_so(
    dataset: str, ipc: int, row: tuple[int | None, ...], origin: str
) -> None:
    facts = {"dataset": dataset, "ipc": ipc, **HABA, **(LARGE if dataset == "imagenette" else {})}
    found = [
        setting("objective", name, "haba", **facts) for name in ("steps", "expert_epochs", "start_epochs", "batch")
    ]
    assert tuple(each and each.value for each in found) == row
    assert found[0] is not None and found[0].origin == origin


FULL = "_".join(OPERATIONS)


@pytest.mark.parametrize(
    ("method", "objective", "parameterization"),
    [("fred", "tm", "fred"), ("tm", "tm", "pixels"), ("haba", "tm", "haba"), ("dm", "dm", "pixels"),
     ("fred", "dm", "fred")],
)  # fmt: skip
@pytest.mark.parametrize("dataset", ["svhn", "mnist"])
def test_digits_are_mirrored_where_the_script_mirrors_whatever_it_is_given(
    dataset: str, method: str, objective: str, parameterization: str
) -> None:
    facts = {"objective": objective, "parameterization": parameterization, "dataset": dataset, "flip": False}
    for section in ("objective", "student"):
        found = setting(section, "augmentation", method, **facts)
        assert found is not None and (found.value, found.origin) == (FULL, "script") and ".py" in found.why
        assert setting(section, "augmentation", method, preset="fair", **facts) is None
        assert setting(section, "augmentation", method, **{**facts, "dataset": "digits"}) is None
    if parameterization == "haba":
        assert value("parameterization", "contrast_augmentation", method, **facts) == FULL
        # Other pictures that lose their class in a mirror keep it here, too.
        assert "flip" not in str(value("parameterization", "contrast_augmentation", **{**facts, "dataset": "digits"}))


@pytest.mark.parametrize("method", ["dsa", "idc", "cafe-dsa"])
def test_digits_are_not_mirrored_where_the_authors_leave_it_out(method: str) -> None:
    objective = {"cafe-dsa": "cafe"}.get(method, method)
    found = setting("objective", "augmentation", method, objective=objective, dataset="svhn", flip=False)
    assert found is None or "flip" not in str(found.value)


def test_a_spec_of_digits_has_the_flip_in_matching_experts_and_students() -> None:
    pictures = dataclasses.replace(set_of(10, (32, 32), per_class=2), name="svhn", title="svhn", flip=False)
    for preset, mirrored in (("paper", True), ("fair", False)):
        spec = resolve(Request(ipc=1, method="fred", preset=preset), pictures, device="cpu", threads=1)
        config = from_mapping(TMConfig, spec.objective_settings, where="objective")
        strategies = {config.augmentation, config.expert_recipe().augmentation, spec.student.augmentation}
        assert {"flip" in strategy for strategy in strategies} == {mirrored}


def test_mtt_does_not_clamp_its_step_size_and_fred_and_haba_do() -> None:
    found = setting("objective", "min_step_size", "tm", objective="tm")
    assert found is not None and (found.value, found.origin) == (0.0, "script")
    assert setting("objective", "min_step_size", "tm", objective="tm", preset="fair") is None
    assert setting("objective", "min_step_size", "haba", **HABA) is None and TMConfig().min_step_size == 0.001


def test_frepo_mirrors_its_prototypes_on_two_subsets_in_the_preset_paper_alone() -> None:
    for dataset, preset, on in (
        ("imagewoof", "paper", True),
        ("imagewoof", "fair", False),
        ("imagemeow", "paper", False),
    ):
        assert value("objective", "flip", "frepo", objective="frepo", dataset=dataset, preset=preset, **LARGE) is on
    found = setting("student", "strength", "frepo", objective="frepo")
    assert found is not None and (found.value, found.origin) == ("frepo-code", "script")


@pytest.mark.parametrize(("ipc", "epochs", "origin"), [(1, 2000, "script"), (10, 1000, "script"), (5, 1000, "chosen")])
def test_idc_mixes_every_batch_of_imagenet_and_trains_by_its_pictures(ipc: int, epochs: int, origin: str) -> None:
    facts = {"objective": "idc", "parameterization": "idc", "dataset": "imagenette", "ipc": ipc, **LARGE}
    for section in ("objective", "student"):
        found = setting(section, "cutmix", "idc", storage={"factor": 3}, **facts)
        assert found is not None and (found.value, found.origin) == (1.0, "script")
    long = setting("student", "epochs", "idc", storage={"factor": 3}, **facts)
    assert long is not None and (long.value, long.origin) == (epochs, origin)
    assert value("student", "epochs", "idc", storage={"factor": 2}, **facts) == 1000
    assert value("objective", "cutmix", "idc", preset="fair", **facts) == 0.5
    assert value("student", "cutmix", "idc", **{**facts, "size": (32, 32), "dataset": "cifar10"}) == 0.5


def test_kips_labels_are_fixed_as_in_its_notebooks() -> None:
    for preset, learned, origin in (("paper", False, "script"), ("fair", True, "chosen"), ("quick", True, "chosen")):
        found = setting("labels", "learned", "kip", objective="kip", preset=preset)
        assert found is not None and (found.value, found.origin) == (learned, origin)
    pictures = set_of(10, (32, 32), per_class=2)
    spec = resolve(Request(ipc=1, method="kip"), pictures, device="cpu", threads=1)
    assert spec.label_settings["form"] == "centred" and spec.label_settings["learned"] is False
    solved = resolve(Request(ipc=1, method="label-solve"), pictures, device="cpu", threads=1)
    assert solved.label_settings["learned"] is True


def test_habas_networks_see_standardised_batches_in_the_preset_paper_alone() -> None:
    assert value("student", "standardise", "haba", **HABA) == "batch"
    assert value("objective", "expert_standardise", "haba", **HABA) == "batch"
    for preset in ("fair", "quick"):
        assert setting("student", "standardise", "haba", preset=preset, **HABA) is None
        assert setting("objective", "expert_standardise", "haba", preset=preset, **HABA) is None
    assert setting("student", "standardise", "fred", objective="tm", parameterization="fred") is None


@pytest.mark.parametrize(
    ("dataset", "ipc", "batch", "origin"),
    [("cifar10", 50, 0, "script"), ("cifar100", 10, 0, "script"), ("cifar100", 50, 125, "inferred"),
     ("imagenette", 1, 0, "script"), ("imagenette", 10, 20, "inferred")],
)  # fmt: skip
def test_habas_extractor_sees_augmented_pairs_of_all_bases_of_a_step(
    dataset: str, ipc: int, batch: int, origin: str
) -> None:
    facts = {"dataset": dataset, "ipc": ipc, **HABA, **(LARGE if dataset == "imagenette" else {})}
    found = setting("parameterization", "contrast_batch", "haba", **facts)
    assert found is not None and (found.value, found.origin) == (batch, origin)
    assert value("parameterization", "contrast_fresh", "haba", **facts) is True
    strategy = value("parameterization", "contrast_augmentation", "haba", **facts)
    assert strategy == "color_crop_cutout_flip_scale_rotate"
    for name in ("contrast_batch", "contrast_fresh", "contrast_augmentation"):
        assert setting("parameterization", name, "haba", preset="fair", **facts) is None


SUBSET = "imagenette"


def test_a_subset_read_without_antialiasing_has_the_subsets_recipe() -> None:
    pictures = dataclasses.replace(set_of(10, (128, 128), per_class=2), name=f"{SUBSET}?antialias=no", title=SUBSET)
    rates = {}
    for name in (SUBSET, f"{SUBSET}?antialias=no", f"{SUBSET}?size=128"):
        spec = resolve(Request(ipc=1, method="tm"), dataclasses.replace(pictures, name=name), device="cpu", threads=1)
        assert spec.dataset == name
        rates[name] = spec.parameterization_settings["lr"]
    assert list(rates.values())[:2] == [1e5, 1e5] and rates[f"{SUBSET}?size=128"] == 1000.0


def test_a_run_of_the_preset_paper_says_that_its_pictures_are_resized_otherwise() -> None:
    told = [note for note in notes_of("dm", SUBSET, "paper") if "anti-aliasing" in note]
    assert len(told) == 1 and f"{SUBSET}?antialias=no" in told[0]
    for dataset, preset in ((f"{SUBSET}?antialias=no", "paper"), (SUBSET, "fair"), ("cifar10", "paper")):
        assert not any("anti-aliasing" in note for note in notes_of("dm", dataset, preset))
    # What a system says of a dataset, it says of it under this option too; of a plug-in's nothing is known.
    assert notes_of("idc", f"{SUBSET}?antialias=no", "paper") == METHODS.get("idc").notes(SUBSET) != []
    assert notes_of("nobody's", "cifar10", "paper") == []


@pytest.mark.parametrize(
    ("name", "plain"),
    [("imagewoof?antialias=no", "imagewoof"), ("imagewoof", "imagewoof"), ("imagewoof?size=64", "imagewoof?size=64"),
     ("imagewoof?size=64&antialias=no", "imagewoof?size=64&antialias=no"), ("folder:/x?antialias=no",) * 2],
)  # fmt: skip
def test_one_option_alone_leaves_a_set_what_it_is(name: str, plain: str) -> None:
    assert plain_name(name) == plain
