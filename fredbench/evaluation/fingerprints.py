"""Quantities beside accuracy that show a fault which accuracy at a small scale does not.

Of a suite: by how much each corruption changes the pictures that are scored. Of a row: what its students are given,
what its set looks like, how far its students moved and how well they know their own pictures. All are means over many
numbers, so that the last bits, which differ between processors, do not matter.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from fredbench.evaluation.entrants import Entrant
from fredbench.evaluation.references import Rule
from fredbench.evaluation.rows import CLEAN
from fredbench.evaluation.scoring import Evaluation
from fredbench.evaluation.students import StudentPlan
from fredbench.foundation.files import canonical_json
from fredbench.foundation.rng import Stream
from fredbench.runs.assembly import Distillation
from fredbench.runs.preprocessing import FOLDER as FITS
from fredbench.training.batches import Pictures, TensorPictures
from fredbench.training.loop import LOSSES, predict, train

__all__ = ["Quantity", "of_row", "of_suite"]

# Grey levels of 255: corrupted pictures are whole numbers, equal on every processor.
_CHANGE = 0.05
# Normalised pictures are rounded to float32; whitening is a solution of 3072 equations, known to about 1e-3.
_GIVEN = 0.01
# A start is real pictures through float32 transforms; a probed student has taken a few steps from the same draws.
_MADE, _TRAINED = 0.002, 0.02
_PROBED_EPOCHS = 5
_SMALLEST = 1e-9


@dataclass(frozen=True)
class Quantity:
    """A named number or text of a row. floor, tolerance: as of `references.Line`."""

    name: str
    value: float | str
    rule: Rule
    floor: float = 0.0
    tolerance: float | None = None


def of_suite(evaluation: Evaluation) -> Iterator[Quantity]:
    """What is scored: the data, which pictures of it, and the mean change of each corruption at each severity."""
    domains = evaluation.domains
    yield Quantity("data", evaluation.dataset.fingerprint[:16], "exact")
    yield Quantity("test split", evaluation.dataset.test_fingerprint[:16], "exact")
    yield Quantity("labels", _digest(np.ascontiguousarray(domains.labels).tobytes()), "exact")
    yield Quantity("scored", f"{len(domains.indices)} pictures, {domains.source}", "exact")
    clean = evaluation.dataset.test.images
    for name in domains.suite.corruptions if domains.framing is None else ():
        base = clean[domains.indices_of(name)].astype(np.int16)
        for severity, pictures in zip(domains.severities, domains.pictures(name), strict=True):
            change = float(np.abs(pictures.astype(np.int16) - base).mean())
            yield Quantity(f"change by {name} {severity}", round(change, 4), "tight", tolerance=_CHANGE)


def of_row(evaluation: Evaluation, entrant: Entrant) -> Iterator[Quantity]:
    """What tells one run from a faulty one: its settings, its set, and its students."""
    yield Quantity("settings", _settings(entrant), "exact")
    given = evaluation.seen(entrant, CLEAN)[0].double()
    for name, value in (("mean", given.mean()), ("std", given.std()), ("first channel", given[:, 0].mean())):
        yield Quantity(f"test pictures given, {name}", round(float(value), 6), "tight", tolerance=_GIVEN)
    images = entrant.synset.images.double()
    looks = {
        "mean": images.mean(),
        "std": images.std(),
        "roughness": (images[..., 1:] - images[..., :-1]).abs().mean(),
    }
    for name, value in looks.items():
        yield Quantity(f"set, {name}", float(value), "statistical", floor=0.001)
    plans = [plan for plan in evaluation.students_of(entrant) if plan.file.is_file()]
    if plans:
        yield from _of_students(evaluation, entrant, plans)
    if not entrant.spec.is_start:
        yield from _probed_set(evaluation, entrant)
        yield from _probed_student(evaluation, entrant)


def _probed_set(evaluation: Evaluation, entrant: Entrant) -> Iterator[Quantity]:
    """What the run's set is before its first iteration under seed 0, made here and now from the training pictures.

    The tilt is the mean over pictures of label times brightness: it moves where labels do.
    """
    spec = dataclasses.replace(entrant.spec, iterations=0, seed=0)
    made = Distillation(spec, evaluation.dataset, evaluation.device, fits=entrant.folder.path.parent / FITS)
    with torch.no_grad():
        images, labels = (found.detach().double().cpu() for found in made.parameterization.decode(made.state))
    classes = labels if labels.ndim == 1 else labels.argmax(dim=1).double()
    values = {
        "std": images.std(),
        "roughness": (images[..., 1:] - images[..., :-1]).abs().mean(),
        "tilt": (classes * images.mean(dim=(1, 2, 3))).mean(),
    }
    for name, value in values.items():
        yield Quantity(f"start at seed 0, {name}", round(float(value), 6), "tight", tolerance=_MADE)


def _probed_student(evaluation: Evaluation, entrant: Entrant) -> Iterator[Quantity]:
    """A student of the run's recipe after a few epochs on fixed real pictures, from fixed draws, trained now."""
    plan, data = evaluation.students_of(entrant)[0], evaluation.dataset.train
    chosen = np.array([np.flatnonzero(data.labels == label)[0] for label in np.unique(data.labels)])
    images = evaluation.given(entrant, data.images[chosen])
    pictures = TensorPictures(images, torch.from_numpy(data.labels[chosen]).to(images.device))
    plan = dataclasses.replace(plan, stream=Stream(0).child("probe"))
    network = plan.network_blank()
    blank = [weight.detach().clone() for weight in network.parameters()]
    # Few steps: what differs in the last bit has not grown by then. Those of a cosine are its first, of a low rate.
    recipe = dataclasses.replace(plan.recipe, epochs=_PROBED_EPOCHS, warmup=0)
    train(network, pictures, recipe, plan.stream.child("training"))
    with torch.no_grad():
        outputs = predict(network, images, standardise=recipe.standardise)
        loss = float(LOSSES[recipe.loss](outputs, pictures.labels))
    moved = math.sqrt(sum(float((w - b).double().square().sum()) for w, b in _pairs(network, blank)))
    size = math.sqrt(sum(float(b.double().square().sum()) for b in blank))
    yield Quantity("student of fixed pictures, way, log", _log(moved / size), "tight", tolerance=_TRAINED)
    yield Quantity("student of fixed pictures, loss, log", _log(loss), "tight", tolerance=_TRAINED)


def _pairs(network: nn.Module, blank: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    return zip((weight.detach() for weight in network.parameters()), blank, strict=True)


def _log(value: float) -> float:
    return round(math.log(max(value, _SMALLEST)), 6)


def _of_students(evaluation: Evaluation, entrant: Entrant, plans: Sequence[StudentPlan]) -> Iterator[Quantity]:
    """On the scale of logarithms: they change by factors."""
    own, moved, loss = [], [], []
    known = evaluation.source_pictures(entrant)
    for plan in plans:
        network, pictures = plan.load(), plan.pictures()
        blank = {name: weight.detach() for name, weight in plan.network_blank().named_parameters()}
        weights = {name: weight.detach() for name, weight in network.named_parameters()}
        steps = sum(float((weights[name] - blank[name]).double().square().sum()) for name in blank)
        moved.append(math.sqrt(steps / sum(float(w.double().square().sum()) for w in blank.values())))
        images, labels = _shown(plan, pictures)
        with torch.no_grad():
            outputs = predict(network, images, standardise=plan.recipe.standardise)
        loss.append(float(LOSSES[plan.recipe.loss](outputs, labels)))
        own.append(_share_known(images, known))
    yield Quantity("students' pictures of their set, %", round(100 * sum(own) / len(own), 2), "tight", tolerance=1.0)
    for name, values in (("students' way, log", moved), ("students' own loss, log", loss)):
        yield Quantity(name, sum(map(_log, values)) / len(values), "statistical", floor=0.05)


def _shown(plan: StudentPlan, pictures: Pictures) -> tuple[Tensor, Tensor]:
    """All pictures of a student once, and their labels."""
    with torch.no_grad():
        return pictures.batch(torch.arange(len(pictures)), plan.stream.child("shown"))


def _share_known(images: Float[Tensor, "n c h w"], known: Float[Tensor, "m c h w"]) -> float:
    """The share of pictures that are, up to rounding, among those known."""
    ours, theirs = images.flatten(1).double(), known.flatten(1).double()
    nearest = torch.cdist(ours, theirs.to(ours.device)).min(dim=1).values
    return float((nearest < 1e-2 * theirs.norm(dim=1).mean()).double().mean())


def _settings(entrant: Entrant) -> str:
    """Digest of what is asked of the run, but for its seed and where it is computed."""
    spec = entrant.spec.to_mapping()
    run = {key: value for key, value in spec["run"].items() if key not in {"seed", "device", "threads"}}
    return _digest(canonical_json({**spec, "run": run}).encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
