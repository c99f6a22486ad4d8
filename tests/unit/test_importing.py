"""Sets made elsewhere: one set in many public forms gives the same pictures; what is wrong with others is said."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import fredbench
from fredbench.datasets import Dataset, load_dataset
from fredbench.evaluation.domains import TestDomains
from fredbench.evaluation.entrants import Entrant
from fredbench.evaluation.scoring import Evaluation
from fredbench.evaluation.statistics import Sample
from fredbench.foundation.errors import ArtefactError, FredbenchError, UsageError
from fredbench.importing import Asked, adopt, found_runs, judging
from fredbench.importing.found import MOST_VALUES
from fredbench.importing.judging import verdict
from fredbench.importing.reading import read
from fredbench.importing.spaces import Real, Weighed, found_space, weigh
from fredbench.importing.whitened import candidates, preparation, settings_of
from fredbench.runs.auditing import audit
from fredbench.runs.exporting import export
from fredbench.runs.store import RunFolder, Store
from fredbench.runs.synset import Synset
from fredbench.suites.corruption import CorruptionSuite

OWN = Asked(name="set", preset="quick")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One store for all, so that the network that is asked about labels is trained once."""
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def original(store: Store) -> Synset:
    """Three real pictures a class, whole grey levels."""
    run = fredbench.distill(
        "digits", ipc=3, method="random", preset="quick", store=store.root, threads=torch.get_num_threads()
    )
    return fredbench.load(run.path)


def taken(path: Path, digits: Dataset, store: Store, asked: Asked = OWN) -> Synset:
    return fredbench.load(run_of(path, digits, store, asked).path)


def run_of(path: Path, digits: Dataset, store: Store, asked: Asked = OWN) -> RunFolder:
    return adopt(path, digits, store, asked, device="cpu", threads=torch.get_num_threads())


def unit(synset: Synset) -> np.ndarray:
    """Pixels of [0, 1], (N, C, H, W)."""
    mean, std = (np.reshape(synset.normalization[key], (1, -1, 1, 1)) for key in ("mean", "std"))
    return synset.images.numpy().astype(np.float64) * std + mean


def save_mtt(s: Synset, at: Path) -> tuple[Path, Asked]:
    torch.save(s.images, at / "images_best.pt")
    torch.save(s.labels, at / "labels_best.pt")
    return at / "images_best.pt", OWN


def save_mtt_folder(s: Synset, at: Path) -> tuple[Path, Asked]:
    save_mtt(s, at)
    return at, OWN


def save_dc(s: Synset, at: Path) -> tuple[Path, Asked]:
    accuracies = {"ConvNet": [np.float64(0.28), np.float64(0.29)]}
    torch.save(
        {"data": [[s.images * 0, s.labels], [s.images, s.labels]], "accs_all_exps": accuracies}, at / "res_DC.pt"
    )
    return at / "res_DC.pt", OWN


def save_fred(s: Synset, at: Path) -> tuple[Path, Asked]:
    torch.save({"data": [[(s.images, s.labels)]], "accs_all_exps": {}}, at / "res_DM.pt")
    return at / "res_DM.pt", OWN


def save_table(s: Synset, at: Path) -> tuple[Path, Asked]:
    torch.save({"images": s.images.bfloat16(), "labels": s.labels}, at / "set.pt")
    return at / "set.pt", OWN


def save_pair(s: Synset, at: Path) -> tuple[Path, Asked]:
    torch.save([torch.from_numpy(unit(s)).float(), s.labels], at / "data.pt")
    return at / "data.pt", Asked(factor=1, name="set", preset="quick")


def save_list(s: Synset, at: Path) -> tuple[Path, Asked]:
    torch.save([s.images[s.labels == label] for label in range(10)], at / "by_class.pt")
    return at / "by_class.pt", OWN


def save_logits(s: Synset, at: Path) -> tuple[Path, Asked]:
    torch.save(s.images, at / "images_best.pt")
    torch.save(torch.eye(10)[s.labels] * 9 - 2, at / "labels_best.pt")
    torch.save(torch.tensor(0.004), at / "lr_best.pt")
    return at / "images_best.pt", Asked(labels="logits", name="set", preset="quick")


def save_soft(s: Synset, at: Path) -> tuple[Path, Asked]:
    torch.save({"images": s.images, "labels": torch.eye(10)[s.labels] * 0.9 + 0.01}, at / "soft.pt")
    return at / "soft.pt", OWN


def save_one_hot(s: Synset, at: Path) -> tuple[Path, Asked]:
    np.savez(at / "one_hot.npz", images=s.images.numpy(), labels=np.eye(10)[s.labels.numpy()])
    return at / "one_hot.npz", OWN


def save_column(s: Synset, at: Path) -> tuple[Path, Asked]:
    np.savez(at / "column.npz", image=s.images.numpy().transpose(0, 2, 3, 1), label=s.labels.numpy()[:, None])
    return at / "column.npz", OWN


def save_bytes(s: Synset, at: Path) -> tuple[Path, Asked]:
    np.savez(at / "bytes.npz", images=s.pixels().numpy().transpose(0, 2, 3, 1), labels=s.labels.numpy())
    return at / "bytes.npz", OWN


def save_npy(s: Synset, at: Path) -> tuple[Path, Asked]:
    np.save(at / "my_images.npy", unit(s))
    np.save(at / "my_labels.npy", s.labels.numpy().astype(np.uint8))
    return at / "my_images.npy", OWN


def save_float_levels(s: Synset, at: Path) -> tuple[Path, Asked]:
    np.savez(at / "levels.npz", images=s.pixels().numpy().astype(np.float64), labels=s.labels.numpy())
    return at / "levels.npz", OWN


def save_half(s: Synset, at: Path) -> tuple[Path, Asked]:
    np.savez(at / "half.npz", images=(unit(s) - 0.5) / 0.5, labels=s.labels.numpy())
    return at / "half.npz", OWN


def save_shuffled(s: Synset, at: Path) -> tuple[Path, Asked]:
    order = torch.randperm(len(s.labels), generator=torch.Generator().manual_seed(1))
    torch.save({"images": s.images[order], "labels": s.labels[order]}, at / "shuffled.pt")
    return at / "shuffled.pt", OWN


def save_unlabelled(s: Synset, at: Path) -> tuple[Path, Asked]:
    torch.save(s.images, at / "images.pt")
    return at / "images.pt", OWN


def save_numbered_folders(s: Synset, at: Path) -> tuple[Path, Asked]:
    for number, (picture, label) in enumerate(zip(s.pixels().numpy(), s.labels.tolist(), strict=True)):
        folder = at / "set" / f"class{label:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.transpose(1, 2, 0)).save(folder / f"{number:04d}.png")
    return at / "set", OWN


def save_renamed(s: Synset, at: Path) -> tuple[Path, Asked]:
    (at / "order.txt").write_text("\n".join(reversed(s.classes)))
    np.savez(at / "renamed.npz", images=s.images.numpy(), labels=9 - s.labels.numpy())
    return at / "renamed.npz", Asked(classes=tuple(reversed(s.classes)), name="set", preset="quick")


def own(form: str, ending: str) -> Callable[[Synset, Path], tuple[Path, Asked]]:
    def save(s: Synset, at: Path) -> tuple[Path, Asked]:
        export(s, form, at / f"mine{ending}")
        return at / f"mine{ending}", Asked(name="set")

    save.__name__ = f"save_{form}"
    return save


FORMS = (
    own("npz", ".npz"), own("safetensors", ".safetensors"), own("imagefolder", ""), save_mtt, save_mtt_folder, save_dc,
    save_fred, save_table, save_pair, save_list, save_logits, save_soft, save_one_hot, save_column, save_bytes,
    save_npy, save_float_levels, save_half, save_shuffled, save_unlabelled, save_numbered_folders, save_renamed,
)  # fmt: skip


@pytest.mark.parametrize("save", FORMS, ids=lambda save: save.__name__.removeprefix("save_"))
def test_every_public_form_gives_the_same_pictures_and_labels(
    save: Callable[[Synset, Path], tuple[Path, Asked]], original: Synset, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    path, asked = save(original, tmp_path)
    found = taken(path, digits, store, asked)
    hard = found.labels.argmax(1) if found.labels.ndim == 2 else found.labels
    assert hard.tolist() == original.labels.tolist()
    # Whatever the space, the same pixels; bfloat16 keeps eight bits of a value.
    room = 0.02 if save is save_table else 1e-5
    given, got = unit(original), unit(found)
    if save is save_shuffled:
        key = [sorted(tuple(np.round(p.ravel()[:64], 4)) for p in x) for x in (given, got)]
        assert key[0] == key[1]
    else:
        np.testing.assert_allclose(got, given, atol=room)
    assert all(check.holds for check in audit(path_of(store, found)))
    assert found.header["imported"]["assumed"] and found.header["method"] == "imported:set"
    if save is save_logits:
        assert found.header["student"]["lr"] == pytest.approx(0.004)
        expected = torch.softmax(torch.eye(10)[original.labels] * 9 - 2, 1)
        torch.testing.assert_close(found.labels, expected)
        assert found.ledger.label_scalars == 300 and found.ledger.params == 30 * 3072
    if save is save_dc:
        assert any("last of 2" in line for line in found.header["imported"]["assumed"])
    if save.__name__ in {"save_npz", "save_safetensors"}:
        assert found.header["student"] == original.header["student"]
        torch.testing.assert_close(found.images, original.images, rtol=0, atol=0)


def path_of(store: Store, synset: Synset) -> Path:
    digest = synset.header["spec_sha256"]
    return next(run.path for run in store.runs() if run.spec().digest() == digest)


def test_a_synset_of_ours_is_the_very_run_it_came_from(digits: Dataset, store: Store, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    run = fredbench.distill(
        "digits", ipc=1, preset="quick", objective="dm", iterations=2, store=store.root, threads=threads
    )
    copy = tmp_path / "mine.safetensors"
    copy.write_bytes(run.synset_file.read_bytes())
    other = Store(tmp_path / "other")
    again = adopt(copy, digits, other, Asked(), device="cpu", threads=threads)
    assert again.spec() == run.spec() and again.path.name == run.path.name
    assert again.synset_file.read_bytes() == run.synset_file.read_bytes()
    assert all(check.holds for check in audit(again.path))


def test_the_same_file_is_the_same_run(original: Synset, digits: Dataset, store: Store, tmp_path: Path) -> None:
    path, asked = save_mtt(original, tmp_path)
    assert run_of(path, digits, store, asked).path == run_of(path, digits, store, asked).path


def test_unequal_classes_keep_their_pictures(original: Synset, digits: Dataset, store: Store, tmp_path: Path) -> None:
    torch.save({"images": original.images[:-2], "labels": original.labels[:-2]}, tmp_path / "uneven.pt")
    found = taken(tmp_path / "uneven.pt", digits, store)
    assert found.labels.bincount().tolist() == [3] * 9 + [1] and found.ledger.params == 28 * 3072
    assert all(check.holds for check in audit(path_of(store, found)))


def test_canvases_are_decoded_by_the_factor_that_is_said(digits: Dataset, store: Store, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    run = fredbench.distill(
        "digits",
        ipc=1,
        preset="quick",
        objective="dm",
        parameterization="idc",
        iterations=0,
        store=store.root,
        threads=threads,
    )
    ours = fredbench.load(run.path)
    canvases = ours.tensors["canvases"]
    torch.save([canvases.reshape(10, 3, 32, 32), torch.arange(10)], tmp_path / "data.pt")
    with pytest.raises(UsageError, match="factor"):
        taken(tmp_path / "data.pt", digits, store)
    found = taken(tmp_path / "data.pt", digits, store, Asked(factor=2, name="set", preset="quick"))
    torch.testing.assert_close(found.images, ours.images, rtol=0, atol=2e-6)
    assert found.ledger == ours.ledger
    assert any(line.startswith("labels: confirmed") for line in found.header["imported"]["assumed"])


@pytest.mark.slow
def test_every_public_form_of_a_cifar10_set_scores_as_the_original(real_data: Path, tmp_path: Path) -> None:
    """Real colours, harder to tell apart; students of what was read are as good as those of what was written."""
    cifar, store, threads = load_dataset("cifar10", root=real_data), Store(tmp_path / "store"), torch.get_num_threads()
    run = fredbench.distill(cifar, ipc=3, method="random", preset="quick", store=store.root, threads=threads)
    domains = TestDomains(CorruptionSuite.clean_only("cifar10"), cifar, severities=(1,), limit=500)
    evaluation = Evaluation(
        cifar, torch.device("cpu"), threads, domains, networks=("convnet-d3-w8-in",), students=3, augmentation="none"
    )

    def scored(folder: RunFolder) -> Sample:
        # Not the control's own redrawn pictures: those of the file.
        entrant = Entrant.of(folder)
        return evaluation.rows([entrant], domains.names())[0].clean

    written = fredbench.load(run.path)
    first: Sample | None = None
    for save in FORMS:
        at = tmp_path / save.__name__
        at.mkdir()
        path, asked = save(written, at)
        folder = adopt(path, cifar, store, asked, device="cpu", threads=threads)
        found = fredbench.load(folder.path)
        hard = found.labels.argmax(1) if found.labels.ndim == 2 else found.labels
        assert hard.tolist() == written.labels.tolist(), save.__name__
        if save is not save_shuffled:
            room = 0.02 if save is save_table else 1e-5
            np.testing.assert_allclose(unit(found), unit(written), atol=room, err_msg=save.__name__)
        sample = scored(folder)
        first = first or sample
        spread = 2 * np.sqrt(((first.std or 0) ** 2 + (sample.std or 0) ** 2) / 3)
        # The same students of nearly the same pictures; soft labels and another order train otherwise.
        assert abs(sample.mean - first.mean) <= max(spread, 3.0), save.__name__


# What is wrong is named


def permuted(s: Synset, at: Path) -> Path:
    order = torch.tensor([3, 0, 1, 2, 5, 4, 7, 6, 9, 8])
    torch.save({"images": s.images, "labels": order[s.labels]}, at / "x.pt")
    return at / "x.pt"


def off_by_one(s: Synset, at: Path) -> Path:
    torch.save({"images": s.images, "labels": (s.labels + 1) % 10}, at / "x.pt")
    return at / "x.pt"


def from_one(s: Synset, at: Path) -> Path:
    torch.save({"images": s.images, "labels": s.labels + 1}, at / "x.pt")
    return at / "x.pt"


def not_a_number(s: Synset, at: Path) -> Path:
    images = s.images.clone()
    images[0, 0, 0, 0] = float("nan")
    torch.save({"images": images, "labels": s.labels}, at / "x.pt")
    return at / "x.pt"


def nine_classes(form: str) -> Callable[[Synset, Path], Path]:
    def save(s: Synset, at: Path) -> Path:
        one_hot = torch.eye(10)[s.labels[:27]]
        labels = {"hard": s.labels[:27], "one-hot": one_hot, "soft": one_hot * 0.9 + 0.01}[form]
        torch.save({"images": s.images[:27], "labels": labels}, at / "x.pt")
        return at / "x.pt"

    save.__name__ = f"nine_classes_{form}"
    return save


def module(s: Synset, at: Path) -> Path:
    torch.save(torch.nn.Linear(2, 2), at / "x.pt")
    return at / "x.pt"


def empty(s: Synset, at: Path) -> Path:
    torch.save({"images": s.images[:0], "labels": s.labels[:0]}, at / "x.pt")
    return at / "x.pt"


def mismatched(s: Synset, at: Path) -> Path:
    torch.save({"images": s.images, "labels": s.labels[:-1]}, at / "x.pt")
    return at / "x.pt"


def truncated(s: Synset, at: Path) -> Path:
    torch.save({"images": s.images, "labels": s.labels}, at / "x.pt")
    (at / "x.pt").write_bytes((at / "x.pt").read_bytes()[:-4000])
    return at / "x.pt"


def cut_array(s: Synset, at: Path) -> Path:
    np.save(at / "x.npy", s.images.numpy())
    (at / "x.npy").write_bytes((at / "x.npy").read_bytes()[:-4000])
    return at / "x.npy"


def other_size(s: Synset, at: Path) -> Path:
    torch.save({"images": s.images[:, :, ::2, ::2], "labels": s.labels}, at / "x.pt")
    return at / "x.pt"


def old_form(s: Synset, at: Path) -> Path:
    torch.save({"images": s.images, "labels": s.labels}, at / "x.pt", _use_new_zipfile_serialization=False)
    return at / "x.pt"


def hallucinators(s: Synset, at: Path) -> Path:
    torch.save({"0.enc.weight": torch.zeros(3, 3, 3, 3), "0.scale": torch.zeros(1, 3, 30, 30)}, at / "weights.pt")
    return at / "weights.pt"


def object_array(s: Synset, at: Path) -> Path:
    np.savez(at / "x.npz", images=np.array([object()] * 3, dtype=object))
    return at / "x.npz"


def logits_unsaid(s: Synset, at: Path) -> Path:
    torch.save({"images": s.images, "labels": torch.eye(10)[s.labels] * 9 - 2}, at / "x.pt")
    return at / "x.pt"


def noise(s: Synset, at: Path) -> Path:
    torch.save({"images": torch.randn(s.images.shape, generator=torch.Generator().manual_seed(0))}, at / "x.pt")
    return at / "x.pt"


def nameless(s: Synset, at: Path) -> Path:
    torch.save({"weights": s.images}, at / "x.pt")
    return at / "x.pt"


def labels_alone(s: Synset, at: Path) -> Path:
    torch.save(s.labels, at / "labels_best.pt")
    return at / "labels_best.pt"


def canvases_in_other_order(s: Synset, at: Path) -> Path:
    # Three canvases a class, each of four pictures of a quarter of the size.
    chosen = s.pixels().numpy().reshape(10, 3, 3, 32, 32)
    small = torch.from_numpy(chosen).float().div(255).flatten(0, 1)
    small = torch.nn.functional.interpolate(small, size=(16, 16), mode="area")
    canvases = torch.cat([torch.cat([small, small], 2)] * 2, 3)
    np.savez(at / "x.npz", images=canvases.numpy(), labels=(s.labels.numpy() + 1) % 10)
    return at / "x.npz"


WRONG = [
    (permuted, "look permuted"), (off_by_one, "off by one"), (from_one, "count from 1"), (not_a_number, "not finite"),
    *((nine_classes(form), "no pictures of 1 of 10 classes: 9") for form in ("hard", "one-hot", "soft")),
    (module, "can run code"), (empty, "no batch"),
    (mismatched, "30 pictures and 29 labels"), (truncated, "cut off|cannot be read"), (cut_array, "claims"),
    (other_size, r"\(3, 16, 16\)"), (old_form, "before 1.6"), (hallucinators, "HaBa"), (object_array, "pickled"),
    (logits_unsaid, "no probabilities"), (noise, "nothing says|not clear"), (nameless, "weights"),
    (labels_alone, "like labels"), (canvases_in_other_order, "look permuted"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "named"), WRONG, ids=lambda value: getattr(value, "__name__", None))
def test_what_is_wrong_with_a_set_is_said(
    wrong: Callable[[Synset, Path], Path], named: str, original: Synset, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    before = {run.path for run in store.runs()}
    with pytest.raises(FredbenchError, match=named) as caught:
        asked = Asked(factor=2) if wrong is canvases_in_other_order else OWN
        taken(wrong(original, tmp_path), digits, store, asked)
    assert caught.value.hint and str(tmp_path) in caught.value.message
    assert {run.path for run in store.runs()} == before


def test_a_space_that_contradicts_the_values_is_refused(
    original: Synset, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    path, _ = save_mtt(original, tmp_path)
    with pytest.raises(UsageError, match=r"% of the values are no pixels of 0\.\.1") as caught:
        taken(path, digits, store, Asked(space="unit", name="set"))
    assert "own" in caught.value.hint
    with pytest.raises(UsageError, match="unknown space"):
        taken(path, digits, store, Asked(space="zca"))
    with pytest.raises(UsageError, match="3 channel"):
        taken(path, digits, store, Asked(space="0.5/0.5"))
    found = taken(path, digits, store, Asked(space="0.5,0.5,0.5/0.25,0.25,0.25", name="set"))
    assert found.normalization["std"] == [0.25] * 3


def test_what_a_file_says_of_its_values_is_doubted_where_they_say_otherwise(
    original: Synset, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    own = (tuple(original.normalization["mean"]), tuple(original.normalization["std"]))
    halves, plain = ((0.5,) * 3, (0.5,) * 3), ((0.0,) * 3, (1.0,) * 3)
    for said, doubtful in ((own, False), (halves, True), (plain, True)):
        _, _, who = found_space(original.images.numpy(), digits, asked=None, said=said)
        assert who.startswith("the file says so") and ("doubtful" in who and "own" in who) == doubtful
    said = {"mean": [0.5] * 3, "std": [0.5] * 3}
    np.savez(tmp_path / "x.npz", images=original.images.numpy(), labels=original.labels.numpy(), **said)
    told = taken(tmp_path / "x.npz", digits, store).header["imported"]["assumed"]
    assert any("doubtful" in line for line in told)


def test_values_that_fit_no_space_stop_with_the_candidates(digits: Dataset) -> None:
    strange = np.random.default_rng(0).normal(-40, 30, (30, 3, 32, 32)).astype(np.float32)
    with pytest.raises(UsageError, match=r"not clear: .*%") as caught:
        found_space(strange, digits, asked=None, said=None)
    assert "--space" in caught.value.hint


def test_the_shares_of_the_spaces_sum_to_one_and_follow_the_values(original: Synset, digits: Dataset) -> None:
    pixels = unit(original)
    for name, values in (("own", original.images.numpy()), ("unit", pixels), ("levels", pixels * 255)):
        weighed = weigh(values.astype(np.float32), digits)
        assert sum(each.share for each in weighed) == pytest.approx(1)
        assert weighed[0].space.name == name and weighed[0].whole and weighed[0].share > 0.99
    # Optimised pixels are no whole levels, and leave 0..1: statistics and custom decide.
    moved = original.images.numpy() + np.random.default_rng(0).normal(0, 0.7, original.images.shape).astype(np.float32)
    best = weigh(moved, digits)[0]
    assert best.space.name == "own" and not best.whole and best.share > 0.6


class Marker:
    """Would leave a file behind if anything unpickled it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


@pytest.mark.parametrize(
    ("form", "named"),
    [
        ("pt", "can run code"), ("legacy.pt", "before 1.6, which is not read"), ("npy", "can run code"),
        ("npz", "can run code"), ("parquet", "picture"),
    ],
)  # fmt: skip
def test_no_file_runs_code(form: str, named: str, digits: Dataset, store: Store, tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / f"x.{form}"
    if form.endswith("pt"):
        torch.save({"images": Marker(marker)}, path, _use_new_zipfile_serialization=form == "pt")
    elif form == "parquet":
        # Parquet has no objects; one that lies in its bytes is neither a picture nor unpickled.
        at = pickle.dumps(Marker(marker))
        pq.write_table(pa.table({"image": pa.array([at] * 10), "label": list(range(10))}), path)
    elif form == "npy":
        np.save(path, np.array([Marker(marker)], dtype=object), allow_pickle=True)
    else:
        np.savez(path, images=np.array([Marker(marker)], dtype=object))
    with pytest.raises(UsageError, match=named):
        taken(path, digits, store)
    assert not marker.exists()
    if form == "legacy.pt":  # the marker works, where a reader unpickles it
        torch.load(path, weights_only=False)
        assert marker.exists()


def test_claims_above_the_bound_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    torch.save({"images": torch.zeros(1).expand(10**12, 3, 32, 32), "labels": torch.zeros(3)}, tmp_path / "x.pt")
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 3, 32, 32), np.float32))
    header["shape"] = (10**12, 3, 32, 32)
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(64))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "images.npy")
    for name in ("x.pt", "x.npy", "x.npz"):
        with pytest.raises(UsageError, match=f"above {MOST_VALUES:,}"):
            read(tmp_path / name)


def test_texts_and_lists_that_would_take_memory_are_refused_before_they_do(tmp_path: Path) -> None:
    header = np.lib.format.header_data_from_array_1_0(np.zeros(1, "<U1000000"))
    header["shape"] = (2**20,)
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(64))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "labels.npy")
    images = torch.zeros(10, 3, 32, 32)
    torch.save({"images": images, "labels": ["a" * 10**6, *["b"] * 10**4]}, tmp_path / "x.pt")
    for name in ("x.npy", "x.npz", "x.pt"):
        with pytest.raises(UsageError, match=r"claims .* bytes of (text|names), above") as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) in caught.value.message and caught.value.hint
    many: list[Any] = [0] * 10
    for _ in range(10):
        many = [many] * 10
    torch.save({"images": images, "labels": many}, tmp_path / "many.pt")
    with pytest.raises(UsageError, match="lists in lists in lists"):
        read(tmp_path / "many.pt")


def test_containers_that_hold_themselves_are_looked_at_for_pictures_alone(tmp_path: Path) -> None:
    ring: list[Any] = []
    ring.append(ring)
    images = torch.zeros(10, 3, 32, 32)
    torch.save({"images": images, "labels": torch.arange(10), "notes": ring}, tmp_path / "notes.pt")
    assert read(tmp_path / "notes.pt").images.shape == images.shape and not read(tmp_path / "notes.pt").brain
    torch.save({"images": images.bfloat16(), "x": images, "labels": torch.arange(10)}, tmp_path / "brain.pt")
    assert read(tmp_path / "brain.pt").brain
    torch.save({"images": images, "x": images.bfloat16(), "labels": torch.arange(10)}, tmp_path / "float.pt")
    assert not read(tmp_path / "float.pt").brain
    for name, value in (("ring", ring), ("labels", {"images": images, "labels": ring}), ("data", {"data": ring})):
        torch.save(value, tmp_path / f"{name}.pt")
        with pytest.raises(UsageError, match=r"holds itself|lists in lists") as caught:
            read(tmp_path / f"{name}.pt")
        assert f"{name}.pt" in caught.value.message and caught.value.hint


def test_cut_files_are_told_as_such(original: Synset, tmp_path: Path) -> None:
    for form, ending in (("npz", ".npz"), ("safetensors", ".safetensors")):
        export(original, form, tmp_path / f"x{ending}")
        whole = (tmp_path / f"x{ending}").read_bytes()
        for share in (0.1, 0.5, 0.99):
            (tmp_path / f"x{ending}").write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(ArtefactError, match="cannot be read"):
                read(tmp_path / f"x{ending}")


def test_a_verdict_tells_agreement_order_and_reversal() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 5)
    clear = rng.normal(0, 1, (50, 10))
    clear[np.arange(50), labels] += 5
    scores = clear - np.log(np.exp(clear).sum(1, keepdims=True))
    good = verdict(scores, scores - 1, labels, 0.9)
    assert good.agrees and not good.permuted and not good.reversed and good.accuracy > 0.9
    turned = verdict(scores, scores - 1, (labels + 3) % 10, 0.9)
    assert turned.permuted and not turned.agrees and turned.order == tuple((np.arange(10) - 3) % 10)
    blank = rng.normal(0, 1, (50, 10))
    blind = verdict(blank, blank, labels, 0.9)
    assert not blind.agrees and not blind.permuted and not blind.reversed
    swapped = verdict(scores, scores + 0.5 + 0.1 * rng.normal(size=scores.shape), labels, 0.9)
    assert swapped.reversed


def made_scores(draws: np.random.Generator, count: int, accuracy: float) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of `count` pictures a class, of whose labels a share is predicted and the rest is noise."""
    labels = np.repeat(np.arange(10), count)
    scores = 1.5 * draws.normal(size=(len(labels), 10))
    for row in np.flatnonzero(draws.random(len(labels)) < accuracy):
        top = scores[row].argmax()
        scores[row, [top, labels[row]]] = scores[row, [labels[row], top]]
    return scores - np.log(np.exp(scores).sum(1, keepdims=True)), labels


@pytest.mark.parametrize("moved", [2, 4, 6])
def test_a_part_of_the_classes_in_other_order_is_found(moved: int) -> None:
    order = np.arange(10)
    order[:moved] = np.roll(order[:moved], 1)
    for seed in range(5):
        scores, labels = made_scores(np.random.default_rng(seed), 30, 0.6)
        found = verdict(scores, scores, order[labels], 0.6)
        assert found.agrees and found.permuted and found.order == tuple(np.argsort(order))
        assert not verdict(scores, scores, labels, 0.6).permuted
    # Of a picture a class nothing is proved, and what is seen is told.
    scores, labels = made_scores(np.random.default_rng(0), 1, 1.0)
    found = verdict(scores, scores, order[labels], 1.0)
    names = tuple(map(str, range(10)))
    assert not found.agrees or (not found.permuted and "in order?" in found.doubt(names))
    assert not verdict(scores, scores, labels, 1.0).doubt(names)


def test_noisy_sets_in_order_are_not_taken_for_permuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_SHUFFLES", 100)
    monkeypatch.setattr(judging, "_ASSIGNMENTS", 1)
    alarms = [
        verdict(scores, scores, labels, 0.6).partly_permuted
        for seed in range(400)
        for scores, labels in [made_scores(np.random.default_rng(seed), (2, 3, 10, 50)[seed % 4], 0.3)]
    ]
    assert sum(alarms) <= 4


def test_names_on_a_command_line_are_runs_or_files(
    original: Synset, digits: Dataset, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = save_mtt(original, tmp_path)
    here = {"data": tmp_path / "no-data", "offline": True, "device": "cpu", "threads": torch.get_num_threads()}
    (run,) = found_runs([str(path)], store, dataset=None, asked=OWN, **here)
    assert run.spec().dataset == "digits" and run.spec().is_imported and not run.spec().is_start
    assert found_runs([run.path.name], store, dataset=None, **here) == [run]
    with pytest.raises(UsageError, match="no run 'nothing'"):
        found_runs(["nothing"], store, dataset=None, **here)
    torch.save({"images": torch.zeros(10, 3, 48, 48)}, tmp_path / "odd.pt")
    with pytest.raises(UsageError, match="fits no dataset at hand") as caught:
        found_runs([str(tmp_path / "odd.pt")], store, dataset=None, **here)
    assert "--dataset" in caught.value.hint


def test_blue_first_is_found_where_there_is_colour(real_data: Path, tmp_path: Path) -> None:
    cifar = load_dataset("cifar10", root=real_data, offline=True)
    chosen = np.concatenate([cifar.train.class_indices(label)[:6] for label in range(10)])
    np.savez(tmp_path / "rgb.npz", images=cifar.train.images[chosen], labels=cifar.train.labels[chosen])
    np.savez(tmp_path / "bgr.npz", images=cifar.train.images[chosen][..., ::-1], labels=cifar.train.labels[chosen])
    store = Store(tmp_path / "store")
    taken(tmp_path / "rgb.npz", cifar, store)
    with pytest.raises(UsageError, match="blue first"):
        taken(tmp_path / "bgr.npz", cifar, store)
    told = taken(tmp_path / "bgr.npz", cifar, store, Asked(channels="bgr", name="set", preset="quick"))
    np.testing.assert_array_equal(told.pixels().numpy().transpose(0, 2, 3, 1), cifar.train.images[chosen])


@pytest.mark.parametrize("form", ["npz", "safetensors", "pt"])
def test_whitened_sets_are_known_by_what_is_said_and_come_back_the_same(
    form: str, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    run = fredbench.distill(
        "digits", ipc=1, preset="quick", objective="dm", parameterization="pixels", iterations=1, store=store.root,
        threads=torch.get_num_threads(), overrides=("data.whitening=mtt",),
    )  # fmt: skip
    ours = fredbench.load(run.path)
    path = tmp_path / f"set.{form}"
    if form == "pt":
        torch.save({"images": ours.images, "labels": ours.labels}, path)
    else:
        export(ours, form, path)
    space = "zca-mtt" if form == "pt" else None
    asked = Asked(name="white", space=space, labels="as-given", preset="quick")
    made = run_of(path, digits, store, asked)
    found = fredbench.load(made.path)
    torch.testing.assert_close(found.images, ours.images, rtol=0, atol=0)
    assert found.whitened and made.spec().data_settings["whitening"] == "mtt"
    if form != "pt":  # of which pictures a bare tensor's whitening was fitted nobody says: of all
        assert found.normalization == ours.normalization
    assert any("ZCA-whitened (mtt)" in line for line in found.header["imported"]["assumed"])
    rows = fredbench.evaluate([made], store=store.root, limit=20, students=1, threads=torch.get_num_threads())
    assert rows[0].method == "imported:white" and not rows[0].start


def test_a_whitened_set_of_other_pictures_is_refused(digits: Dataset, store: Store, tmp_path: Path) -> None:
    run = fredbench.distill(
        "digits", ipc=1, preset="quick", objective="dm", parameterization="pixels", iterations=1, store=store.root,
        threads=torch.get_num_threads(), overrides=("data.whitening=mtt",),
    )  # fmt: skip
    export(fredbench.load(run.path), "npz", tmp_path / "x.npz")
    other = Dataset.from_splits("other", digits.train.take(np.arange(600)), digits.test, digits.classes, flip=False)
    with pytest.raises(UsageError, match="fit to other pictures"):
        taken(tmp_path / "x.npz", other, store)


# What a second reader found


def test_the_same_pictures_with_other_labels_are_another_run(
    original: Synset, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    path, _ = save_mtt(original, tmp_path)
    given = Asked(name="set", preset="quick", labels="as-given")
    first = run_of(path, digits, store, given)
    torch.save((original.labels + 1) % 10, tmp_path / "labels_best.pt")
    second = run_of(path, digits, store, given)
    assert first.path != second.path
    assert not torch.equal(fredbench.load(first.path).images, fredbench.load(second.path).images)
    save_logits(original, tmp_path)
    runs = {
        run_of(path, digits, store, Asked(name="set", preset="quick", labels="logits", temperature=heat)).path
        for heat in (1.0, 20.0)
    }
    assert len(runs) == 2


def test_learned_rates_of_exports_and_those_asked_for_are_used(
    original: Synset, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    header = {**original.header, "step_size": 0.07, "preset": "paper"}
    export(Synset(original.tensors, header), "npz", tmp_path / "x.npz")
    assert taken(tmp_path / "x.npz", digits, store, Asked(name="rate")).header["student"]["lr"] == 0.07
    asked = Asked(name="rate", step_size=0.5)
    assert taken(tmp_path / "x.npz", digits, store, asked).header["student"]["lr"] == 0.5


def test_plain_numbers_and_names_in_a_file_are_read(
    original: Synset, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    mean, std = (list(original.normalization[key]) for key in ("mean", "std"))
    named = [digits.classes[label] for label in original.labels.tolist()]
    table = {"images": original.images, "lr": 0.03, "mean": mean, "std": std, "notes": "mine"}
    for labels in (original.labels.tolist(), named):
        torch.save({**table, "labels": labels}, tmp_path / "x.pt")
        found = taken(tmp_path / "x.pt", digits, store)
        assert found.labels.tolist() == original.labels.tolist() and found.header["student"]["lr"] == 0.03
        assert any("the file says so" in line for line in found.header["imported"]["assumed"])
    torch.save([original.images, original.labels, torch.tensor(0.25)], tmp_path / "three.pt")
    assert taken(tmp_path / "three.pt", digits, store).header["student"]["lr"] == 0.25
    uneven = [original.images[original.labels == label][: 1 + label % 3] for label in range(10)]
    torch.save(uneven, tmp_path / "uneven.pt")
    assert taken(tmp_path / "uneven.pt", digits, store).labels.bincount().tolist() == [1 + c % 3 for c in range(10)]
    np.savez(tmp_path / "x.npz", images=original.images.numpy(), labels=np.array(named), description="my set")
    assert taken(tmp_path / "x.npz", digits, store).labels.tolist() == original.labels.tolist()


def test_a_synset_of_an_imported_set_is_taken_in_again(
    original: Synset, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    path, _ = save_mtt(original, tmp_path)
    made = run_of(path, digits, store, Asked(space="0.5,0.5,0.5/0.25,0.25,0.25", name="odd", preset="quick"))
    copy = tmp_path / "synset.safetensors"
    copy.write_bytes(made.synset_file.read_bytes())
    other = Store(tmp_path / "other")
    assert run_of(copy, digits, other, Asked()).spec() == made.spec()
    with pytest.raises(UsageError, match=r"(preset|name), (preset|name)"):
        run_of(copy, digits, other, OWN)
    with pytest.raises(UsageError, match="a run of digits, not of cifar10"):
        found_runs(
            [str(made.path)], store, dataset="cifar10", data=None, offline=True, device="cpu", threads=1, asked=Asked()
        )


def haba(s: Synset, at: Path) -> Path:
    torch.save({"0.enc.weight": torch.zeros(1)}, at / "weights_best.pt")
    return save_mtt(s, at)[0]


def for_viewing(s: Synset, at: Path) -> Path:
    torch.save(s.images, at / "images_zca_500.pt")
    return at / "images_zca_500.pt"


def four_means(s: Synset, at: Path) -> Path:
    np.savez(at / "x.npz", images=s.images.numpy(), labels=s.labels.numpy(), mean=[0.5] * 4, std=[0.5] * 4)
    return at / "x.npz"


def no_deviation(s: Synset, at: Path) -> Path:
    np.savez(at / "x.npz", images=s.images.numpy(), labels=s.labels.numpy(), mean=[0.5] * 3, std=[0.0] * 3)
    return at / "x.npz"


def mean_in_words(s: Synset, at: Path) -> Path:
    np.savez(at / "x.npz", images=s.images.numpy(), labels=s.labels.numpy(), mean="x", std="y")
    return at / "x.npz"


def huge(s: Synset, at: Path) -> Path:
    torch.save({"images": s.images * 1e22, "labels": s.labels}, at / "x.pt")
    return at / "x.pt"


def one_label(s: Synset, at: Path) -> Path:
    torch.save({"images": s.images, "labels": torch.tensor(3)}, at / "x.pt")
    return at / "x.pt"


def complex_labels(s: Synset, at: Path) -> Path:
    np.savez(at / "x.npz", images=s.images.numpy(), labels=s.labels.numpy() + 1j)
    return at / "x.npz"


def strange_names(s: Synset, at: Path) -> Path:
    np.savez(at / "x.npz", images=s.images.numpy(), labels=np.array(["cat"] * 30))
    return at / "x.npz"


def eight_bit_floats(s: Synset, at: Path) -> Path:
    torch.save({"images": torch.zeros(10, 3, 32, 32, device="meta"), "labels": s.labels[:10]}, at / "x.pt")
    return at / "x.pt"


def half_description(s: Synset, at: Path) -> Path:
    described = '{"normalization": {"kind": "mean-std"}}'
    np.savez(at / "x.npz", images=s.images.numpy(), labels=s.labels.numpy(), description=described)
    return at / "x.npz"


FOUND = [
    (haba, "HaBa's bases"), (for_viewing, "for viewing"), (four_means, "4 and 4 numbers"), (no_deviation, "nothing is"),
    (mean_in_words, "is no number"), (huge, "no picture has"), (one_label, "do not belong"),
    (complex_labels, "complex128"), (strange_names, "'cat' is none"), (eight_bit_floats, "no plain numbers"),
    (half_description, "lacks a part"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "named"), FOUND, ids=lambda value: getattr(value, "__name__", None))
def test_what_a_second_reader_found_is_said(
    wrong: Callable[[Synset, Path], Path], named: str, original: Synset, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(FredbenchError, match=named) as caught:
        taken(wrong(original, tmp_path), digits, store)
    assert caught.value.hint


def test_canvases_of_unequal_classes_are_not_decoded(
    original: Synset, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    pixels = torch.from_numpy(unit(original)).float()
    for images, labels in ((pixels[:-1], original.labels[:-1]), (pixels, torch.eye(10)[original.labels] * 0.5 + 0.05)):
        torch.save([images, labels], tmp_path / "data.pt")
        with pytest.raises(UsageError, match="cannot be decoded by a factor"):
            taken(tmp_path / "data.pt", digits, store, Asked(factor=2, name="set"))


def test_files_beside_a_set_do_not_hide_it(original: Synset, digits: Dataset, store: Store, tmp_path: Path) -> None:
    save_mtt(original, tmp_path)
    (tmp_path / "._images_best.pt").write_bytes(b"resource fork")
    (tmp_path / "old.pt").mkdir()
    assert len(taken(tmp_path, digits, store).labels) == 30


def whitened_digits(digits: Dataset, recipe: str, store: Store, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Real pictures, `count` a class, whitened by a recipe, with their labels."""
    chosen = np.concatenate([digits.train.class_indices(label)[:count] for label in range(10)])
    data = settings_of(recipe, digits, storage="pixels", where="test")
    prepared = preparation(data, digits, "train", store.root)
    return prepared(digits.train.images[chosen]).numpy(), digits.train.labels[chosen]


def test_which_whitening_is_found_out(digits: Dataset, store: Store, tmp_path: Path) -> None:
    def weighed_of(images: np.ndarray) -> Callable[[Real], list[Weighed]]:
        return lambda real: candidates(images, digits, real, store.root, seen=False)

    for recipe in ("mtt", "frepo", "kip"):
        images, labels = whitened_digits(digits, recipe, store, 2)
        space, evidence, who = found_space(images, digits, asked=None, said=None, whitened=weighed_of(images))
        assert space.name == f"zca-{recipe}" and evidence[0].whole and "in it" in who and len(evidence) > 6
    torch.save({"images": torch.from_numpy(images), "labels": torch.from_numpy(labels)}, tmp_path / "x.pt")
    made = run_of(tmp_path / "x.pt", digits, store, Asked(name="found", preset="quick", labels="as-given"))
    found = fredbench.load(made.path)
    assert found.normalization["recipe"] == "kip" and torch.equal(found.images, torch.from_numpy(images))
    said = found.header["imported"]
    assert said["evidence"][0].startswith("zca-kip ") and any(
        "KIP's one length in it" in line for line in said["assumed"]
    )
    # Nothing tells the recipes apart once the pictures were moved: it stops, and lists them.
    moved = images + 0.3 * images.std() * np.random.default_rng(0).normal(size=images.shape).astype(np.float32)
    with pytest.raises(UsageError, match=r"not clear: zca-\w+ .*zca-\w+ .*zca-\w+ .*deviation"):
        found_space(moved, digits, asked=None, said=None, whitened=weighed_of(moved))


def test_a_file_that_only_whitened_runs_write_speaks_for_mtts(digits: Dataset, store: Store, tmp_path: Path) -> None:
    images, labels = whitened_digits(digits, "mtt", store, 2)
    moved = images + 0.3 * images.std() * np.random.default_rng(0).normal(size=images.shape).astype(np.float32)
    torch.save(torch.from_numpy(moved), tmp_path / "images_best.pt")
    torch.save(torch.from_numpy(labels), tmp_path / "labels_best.pt")
    asked = Asked(name="seen", preset="quick", labels="as-given")
    with pytest.raises(UsageError, match="not clear"):
        run_of(tmp_path / "images_best.pt", digits, store, asked)
    torch.save(torch.zeros(1), tmp_path / "images_zca_100.pt")
    found = fredbench.load(run_of(tmp_path / "images_best.pt", digits, store, asked).path)
    assert found.normalization["recipe"] == "mtt"


def test_noisy_sets_that_are_not_whitened_are_not_taken_for_such(original: Synset, digits: Dataset) -> None:
    def never(real: Real) -> list[Weighed]:
        raise AssertionError("no fit is needed for these")

    draws = np.random.default_rng(0)
    plain = original.images.numpy()
    for noise in (0.0, 0.5, 2.0):
        noisy = plain + noise * draws.normal(size=plain.shape).astype(np.float32)
        assert found_space(noisy, digits, asked=None, said=None, whitened=never)[0].name == "own"


@pytest.mark.parametrize("recipe", ["mtt", "frepo", "kip", "none"])
def test_whitenings_of_real_photographs_are_told_apart(
    recipe: str, real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cifar = load_dataset("cifar10", root=real_data, offline=True)
    # The fits are of a part of the pictures here, as a dataset of its own, so that they take seconds.
    some = Dataset.from_splits("some", cifar.train.take(np.arange(0, 50_000, 50)), cifar.test, cifar.classes, flip=True)
    store = tmp_path_factory.getbasetemp() / "fits-of-some-photographs"
    data = {} if recipe == "none" else settings_of(recipe, some, storage="pixels", where="test")
    prepared = preparation(data, some, "train", store)
    for count in (10, 100):
        images = prepared(cifar.test.images[:: 10_000 // count]).numpy()

        def whitened(real: Real, images: np.ndarray = images) -> list[Weighed]:
            return candidates(images, some, real, store, seen=False)

        space, evidence, _ = found_space(images, some, asked=None, said=None, whitened=whitened)
        assert space.name == ("own" if recipe == "none" else f"zca-{recipe}") and evidence[0].share > 0.95
