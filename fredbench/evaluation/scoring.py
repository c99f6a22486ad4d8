"""One evaluation for all tables: train k students on each set, score them on every domain."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from fredbench.datasets import Dataset
from fredbench.datasets.catalogue import plain_name
from fredbench.evaluation.across import in_networks
from fredbench.evaluation.aggregation import Outcomes, row_scores
from fredbench.evaluation.attacked import Attacks
from fredbench.evaluation.domains import TestDomains
from fredbench.evaluation.entrants import Entrant, companion_specs
from fredbench.evaluation.labelling import AUGMENTATIONS, LABELS, AugmentationProtocol, LabelProtocol, Teacher
from fredbench.evaluation.pairing import compared
from fredbench.evaluation.probes import AttackProbe, OutlierProbe, Probe, Seen, SequenceProbe
from fredbench.evaluation.published import SCRIPT_LEVEL_OF, published_row
from fredbench.evaluation.rows import CLEAN, Compared, Row
from fredbench.evaluation.stability import Sequences
from fredbench.evaluation.statistics import summarise
from fredbench.evaluation.students import (
    StudentPlan,
    as_run,
    predictions_on,
    store_predictions,
    store_tensors,
    stored_predictions,
)
from fredbench.foundation.errors import ArtefactError, CompatibilityError, UnknownNameError, UsageError
from fredbench.foundation.files import canonical_json, remove_abandoned
from fredbench.foundation.progress import Progress, say
from fredbench.foundation.rng import Stream
from fredbench.networks.names import REDUCED
from fredbench.objectives import OBJECTIVES, coresets
from fredbench.objectives.coresets import random_subset
from fredbench.parameterizations.budget import Budget, Storage
from fredbench.parameterizations.pixels import Pixels, PixelsConfig
from fredbench.runs.assembly import real_pictures
from fredbench.runs.preprocessing import FOLDER as FITS
from fredbench.runs.preprocessing import described, fit_of, training_count
from fredbench.runs.spec import Spec
from fredbench.runs.synset import Synset
from fredbench.training.batches import Pictures, TensorPictures
from fredbench.training.loop import TrainingRecipe
from fredbench.training.preprocessing import Preprocessing

__all__ = ["PROTOCOLS", "Evaluation", "Standing"]

Protocol = Literal["own", "fred-literal"]
PROTOCOLS: tuple[Protocol, ...] = ("own", "fred-literal")
# FreD's corruption script trains at .01 for 1,000 epochs whatever the method, and normalises CIFAR-10-C and CIFAR-10.1
# by .5/.5 (corruption-exp/utils.py:106,112), ImageNet-C by ImageNet's statistics (119-129).
_LITERAL_LEVEL = 0.5


@dataclass(frozen=True)
class Standing:
    """How far the evaluation of a run is: students trained, of all; predictions on domains stored, of all."""

    trained: int
    students: int
    scored: int
    scores: int

    @property
    def whole(self) -> bool:
        """Whether nothing is missing: rows are made of predictions, which outlive their students."""
        return self.scored == self.scores

    @property
    def untouched(self) -> bool:
        """Whether nothing is there."""
        return self.trained == self.scored == 0


@dataclass(frozen=True)
class _Unscored:
    """One student's predictions on one domain, before they are made."""

    entrant: Entrant
    plan: StudentPlan
    file: Path


@dataclass(frozen=True)
class Evaluation:
    """What is asked of all rows of one table.

    networks: test networks, None for each run's own. students: how many, None for each run's own number.
    calibration: whether rows say how far confidences can be trusted. labels, augmentation: what students are told of
    the pictures (by `teacher` where it is `relabelled`), and whether they see them augmented as the recipe has it.
    attacks: adversarial ones, on clean test pictures, for rows to say what they leave. others: datasets whose test
    pictures students are to tell from their own. sequences: of perturbations, for rows to say how steady students are.
    """

    dataset: Dataset
    device: torch.device
    threads: int
    domains: TestDomains
    networks: tuple[str, ...] | None = None
    students: int | None = None
    protocol: Protocol = "own"
    calibration: bool = False
    labels: LabelProtocol = "own"
    augmentation: AugmentationProtocol = "own"
    teacher: Teacher | None = None
    attacks: Attacks | None = None
    others: tuple[Dataset, ...] = ()
    sequences: Sequences | None = None
    # What was derived from the data and is used again: the last preprocessing, the last run's training pictures.
    _kept: dict[str, tuple[str, Any]] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UnknownNameError("protocol", self.protocol, PROTOCOLS)
        for what, asked, known in (
            ("labels", self.labels, LABELS),
            ("augmentation", self.augmentation, AUGMENTATIONS),
        ):
            if asked not in known:
                raise UnknownNameError(what, asked, known)
        if self.labels == "relabelled" and self.teacher is None:
            raise UsageError("relabelled by whom?", hint="name a teacher, such as convnet-d3-w32-in")
        if self.protocol != "own" and (self.labels, self.augmentation) != ("own", "own"):
            raise UsageError(
                f"the protocol {self.protocol} says itself what students see and are told",
                hint="leave out --train-labels and --augmentation, or --protocol",
            )
        if self.students is not None and self.students < 1:
            raise UsageError(f"--students must be at least 1, not {self.students}", hint="3 or more give a spread")

    def rows(self, entrants: Sequence[Entrant], names: Sequence[str]) -> list[Row]:
        """Score what is missing on the domains `names`, training students only for that, and make the rows."""
        self.check(entrants)
        plans = {entrant.key: self._plans(entrant) for entrant in entrants}
        missing = {name: found for name in names if (found := self._missing(name, entrants, plans))}
        seen = [self._seen(entrant, group) for entrant in entrants for group in plans[entrant.key].values()]
        for probe, each in itertools.product(self._probes, seen):
            probe.check(each)
        self._make(entrants, missing)
        self._probe(seen)
        rows = [self._row(entrant, plans[entrant.key], names) for entrant in entrants]
        beside = self.compared(entrants, names)
        return [dataclasses.replace(row, compared=beside.get(row.run, ())) for row in rows]

    def check(self, entrants: Sequence[Entrant]) -> None:
        """Refuse what cannot be scored as asked: whitened sets by a literal protocol, or of another whitening.

        Raises `CompatibilityError`; `ArtefactError` for a set whose whitening is not that of its run on this data.
        """
        for entrant in entrants:
            spec, said = entrant.spec, entrant.synset.normalization
            if not entrant.synset.whitened and spec.data_settings.get("whitening", "none") == "none":
                continue
            if self.protocol == "fred-literal":
                raise CompatibilityError(
                    f"{entrant.folder.path} is ZCA-whitened: fred-literal normalises test pictures by .5 and .5, which "
                    "is no input space of its students",
                    hint="score it with --protocol own",
                )
            if said != described(spec.data_settings, self.dataset, spec.split):
                raise ArtefactError(
                    f"{entrant.folder.path} says that its pictures were whitened by the fit "
                    f"{str(said.get('fingerprint'))[:12]}, which is not its run's on {self.dataset.name} here",
                    hint="point --data at the data of the run, or distill it again with --fresh",
                )

    def lacks_student(self, entrant: Entrant, names: Sequence[str], network: str, number: int) -> bool:
        """Whether a student is neither trained nor scored on all of `names`."""
        plan = self._plans(entrant)[network][number]
        return not plan.file.is_file() and bool(
            [name for name in names if self._missing(name, [entrant], {entrant.key: {network: [plan]}})]
        )

    def train_student(self, entrant: Entrant, network: str, number: int) -> None:
        """Train and store one student, where it is not there."""
        self.check([entrant])
        self._plans(entrant)[network][number].ensure()

    def standing(self, entrant: Entrant, names: Sequence[str]) -> Standing:
        """What is on disk of the evaluation of `entrant` on the domains `names`; computes nothing."""
        plans = {entrant.key: self._plans(entrant)}
        students = [plan for group in plans[entrant.key].values() for plan in group]
        missing = sum(len(self._missing(name, [entrant], plans)) for name in names)
        scores = len(students) * len(names)
        return Standing(sum(plan.file.is_file() for plan in students), len(students), scores - missing, scores)

    def stored_row(self, entrant: Entrant, names: Sequence[str]) -> Row | None:
        """The row of what is on disk, nothing being computed; None where predictions on one of `names` are missing."""
        plans = self._plans(entrant)
        if any(self._missing(name, [entrant], {entrant.key: plans}) for name in names):
            return None
        return self._row(entrant, plans, names)

    def compared(self, entrants: Sequence[Entrant], names: Sequence[str]) -> dict[str, tuple[Compared, ...]]:
        """By run folder, each distilled set against its start and control among `entrants`, by stored predictions."""
        known = {entrant.spec.digest(): entrant for entrant in entrants}
        beside = {
            entrant.key: [known[spec.digest()] for spec in companion_specs(entrant.spec) if spec.digest() in known]
            for entrant in known.values()
        }
        chosen = [entrant for entrant in known.values() if beside[entrant.key]]
        averaged = [name for name in names if name in self.domains.suite.corruptions] or self.domains.shifts
        domains = {CLEAN: [CLEAN], **({"average": list(averaged)} if averaged and set(averaged) <= set(names) else {})}
        return compared(
            {e.folder.path: [other.folder.path for other in beside[e.key]] for e in chosen},
            domains,
            {
                e.folder.path: {network: partial(self._outcomes, e, group) for network, group in self._plans(e).items()}
                for e in known.values()
            },
        )

    def students_of(self, entrant: Entrant) -> list[StudentPlan]:
        """The students of an entrant's first network, trained or not."""
        return next(iter(self._plans(entrant).values()))

    def outcomes_of(self, entrant: Entrant, name: str) -> Outcomes:
        """What is stored of the predictions of an entrant's students, of its first network, on domain `name`."""
        return self._outcomes(entrant, self.students_of(entrant), name)

    def seen(self, entrant: Entrant, name: str) -> list[Float[Tensor, "n c h w"]]:
        """The pictures of domain `name` as the entrant's students are given them, one tensor a severity."""
        return list(self._prepared(entrant, name, list(self.domains.pictures(name))))

    def source_pictures(self, entrant: Entrant) -> Float[Tensor, "n c h w"]:
        """Where an entrant's students must have their pictures from: its set or, if real, the training pictures."""
        if not entrant.spec.is_choice:
            return entrant.synset.images
        return self.given(entrant, self.dataset.train.images)

    def given(self, entrant: Entrant, pixels: UInt8[np.ndarray, "n h w c"]) -> Float[Tensor, "n c h w"]:
        """Pictures of 0..255 as an entrant's students are given test pictures."""
        return self._preprocessing(entrant)(pixels, self.device)

    def recipe_of(self, spec: Spec, synset: Synset) -> TrainingRecipe:
        """How students of a run are trained: its own recipe, with the learned step size where there is one.

        Without augmentation, where that is asked for, there is no CutMix either.
        """
        return self.recipe_at(spec, synset.step_size)

    def recipe_at(self, spec: Spec, step_size: float | None) -> TrainingRecipe:
        """The same of a set that is not made yet, or whose learned step size is known (None: it has none)."""
        recipe = self._own_recipe(spec, step_size)
        plain = self.augmentation == "none"
        return dataclasses.replace(recipe, augmentation="none", cutmix=0.0) if plain else recipe

    def _own_recipe(self, spec: Spec, step_size: float | None) -> TrainingRecipe:
        if self.protocol == "fred-literal":
            # The script has plain pictures for the method DC alone: what else is matched as DC is keeps DSA there.
            system = spec.parameterization == coresets.PARAMETERIZATION
            ours = not spec.is_choice and not spec.is_imported
            plain = system and ours and OBJECTIVES.get(spec.objective).scored_plain
            strategy = "none" if plain else "color_crop_cutout_flip_scale_rotate"
            return TrainingRecipe(augmentation=strategy, loss=spec.student.loss, arithmetic=spec.student.arithmetic)
        if step_size is not None and spec.preset == "paper":
            if not step_size > 0:
                raise UsageError(
                    f"no student can train at the step size that {spec.method} learned, {step_size:g}",
                    hint="distill it again with --set objective.min_step_size=0.001, or a lower objective.step_size_lr",
                )
            return dataclasses.replace(spec.student, lr=step_size)
        return spec.student

    def _plans(self, entrant: Entrant) -> dict[str, list[StudentPlan]]:
        """Students of an entrant, by network."""
        spec, recipe = entrant.spec, self.recipe_of(entrant.spec, entrant.synset)
        count = self.students or spec.students
        return {
            network: [self._plan(entrant, network, recipe, student) for student in range(count)]
            for network in self.networks or (spec.student_network,)
        }

    def _plan(self, entrant: Entrant, network: str, recipe: TrainingRecipe, student: int) -> StudentPlan:
        spec = entrant.spec
        channels, height, width = entrant.synset.header["dataset"]["shape"]
        classes, shape = len(entrant.synset.classes), (channels, height, width)
        source = entrant.synset.header["tensors_sha256"]
        if spec.is_control:
            source = f"random draw {student} of {spec.digest()}"
        source += self._labelled_by(entrant)
        return StudentPlan(
            folder=entrant.folder.students,
            source=source,
            network=network,
            recipe=as_run(recipe, network, classes=classes, shape=shape, device=self.device),
            stream=Stream(spec.seed).child("student", student),
            classes=classes,
            shape=shape,
            device=self.device,
            threads=self.threads,
            pictures=lambda: self._pictures(entrant, student, recipe.loss),
        )

    def _labelled_by(self, entrant: Entrant) -> str:
        """What names the labels of a student, where they are not the set's own: nothing else changes its key."""
        if self.labels == "hard" and entrant.synset.labels.is_floating_point():
            return " with hard labels"
        if self.labels == "relabelled" and self.teacher is not None:
            return f" labelled by {self.teacher.plan(entrant.spec.split).digest()}"
        return ""

    def _pictures(self, entrant: Entrant, student: int, loss: str = "cross-entropy") -> Pictures:
        """What a student trains on: the distilled set or, for the control, the student's own random subset."""
        spec, synset = entrant.spec, entrant.synset
        if not spec.is_control:
            return synset.as_pictures(self.device, self._told(entrant, synset.images, synset.labels, loss))
        fits = entrant.folder.path.parent / FITS
        real = self._once("real", spec.digest(), lambda: real_pictures(spec, self.dataset, self.device, fits=fits))
        budget = Budget(spec.budget, len(synset.classes), real.shape)
        state = random_subset(real, budget, Stream(spec.seed), draw=student)
        images, labels = Pixels(PixelsConfig()).decode(state)
        return TensorPictures(images.detach(), self._told(entrant, images.detach(), labels, loss).to(self.device))

    def _told(self, entrant: Entrant, images: Tensor, own: Tensor, loss: str) -> Tensor:
        """The labels that students of an entrant get for `images`, whose own labels are `own`."""
        if self.labels == "hard":
            return own.argmax(1) if own.is_floating_point() else own
        if self.labels == "own" or self.teacher is None:
            return own
        return self.teacher.labels(self._preprocessing(entrant).undone(images), entrant.spec.split, loss)

    def _make(self, entrants: Sequence[Entrant], missing: Mapping[str, Sequence[_Unscored]]) -> None:
        """Train the students that lack predictions on some domain, and store those."""
        students = {each.plan.file: each.plan for group in missing.values() for each in group}
        for entrant in entrants:
            remove_abandoned(entrant.folder.students)
        with Progress("training students", len(students)) as progress:
            for plan in students.values():
                plan.ensure()
                progress.advance()
        if missing:
            counts = sorted({len(self.domains.indices_of(name)) for name in missing})
            say(f"scoring {len(missing)} domain(s) of {' or '.join(map(str, counts))} pictures ({self.domains.source})")
        for name, group in missing.items():
            self._score(name, group)

    def _missing(
        self, name: str, entrants: Sequence[Entrant], plans: Mapping[str, Mapping[str, list[StudentPlan]]]
    ) -> list[_Unscored]:
        """Predictions on domain `name` that are not on disk."""
        found = []
        for entrant in entrants:
            key = self._domain_key(name, self._normalization(entrant.synset))
            for plan in itertools.chain.from_iterable(plans[entrant.key].values()):
                unscored = _Unscored(entrant, plan, plan.scores_file(key))
                if not unscored.file.is_file():
                    found.append(unscored)
        return found

    def _score(self, name: str, missing: Sequence[_Unscored]) -> None:
        """Make the domain's pictures once and score every student that lacks it."""
        severities, labels = list(self.domains.pictures(name)), self.domains.labels_of(name)
        with Progress(f"scoring {name}", len(missing)) as progress:
            for each in missing:
                student, way = each.plan.load(), each.plan.recipe.standardise
                preprocessing = self._preprocessing(each.entrant)
                if preprocessing.whitening is None:
                    # A batch at a time: a page of floats is four times the size, and one batch's lies in the caches.
                    prepare = partial(preprocessing, device=self.device)
                    found = predictions_on(student, severities, labels, way, prepare)
                else:
                    found = predictions_on(student, self._prepared(each.entrant, name, severities), labels, way)
                store_predictions(each.file, found)
                progress.advance()
        self._kept.pop("white", None)

    @cached_property
    def _probes(self) -> tuple[Probe, ...]:
        """What is measured of students beside their predictions on domains."""
        asked: list[Probe] = []
        if self.attacks is not None:
            asked.append(AttackProbe(self.attacks))
        if self.others:
            asked.append(OutlierProbe(self.others))
        if self.sequences is not None:
            asked.append(SequenceProbe(self.sequences))
        return tuple(asked)

    def _seen(self, entrant: Entrant, students: Sequence[StudentPlan]) -> Seen:
        return Seen(
            students, self.dataset, self._normalization(entrant.synset), lambda: self._preprocessing(entrant),
            self.device, self.domains.limit,
        )  # fmt: skip

    def _probe(self, seen: Sequence[Seen]) -> None:
        """Make the pieces of all probes that are not on disk."""
        for probe in self._probes:
            missing = [piece for each in seen for piece in probe.pieces(each) if not piece.file.is_file()]
            with Progress(probe.title, len(missing)) as progress:
                for piece in missing:
                    store_tensors(piece.file, piece.make())
                    progress.advance()

    def _prepared(
        self, entrant: Entrant, name: str, severities: Sequence[UInt8[np.ndarray, "n h w c"]]
    ) -> Iterable[Float[Tensor, "n c h w"]]:
        """The pictures of a domain as the students of an entrant see them, whitened after they were corrupted."""
        preprocessing = self._preprocessing(entrant)
        if preprocessing.whitening is None:
            return (preprocessing(pictures, self.device) for pictures in severities)
        # Whitening pictures takes longer than predicting them: once for all students that see them so.
        key = self._domain_key(name, self._normalization(entrant.synset))
        white = self._once("white", key, lambda: [preprocessing(pictures, self.device) for pictures in severities])
        return cast(Iterable[Tensor], white)

    def _preprocessing(self, entrant: Entrant) -> Preprocessing:
        """What is done to test pictures for the students of an entrant."""
        said, fits = self._normalization(entrant.synset), entrant.folder.path.parent / FITS
        return cast(
            Preprocessing,
            self._once(
                "preprocessing",
                [said, str(fits)],
                lambda: Preprocessing(tuple(said["mean"]), tuple(said["std"]), fit_of(said, self.dataset, fits)),
            ),
        )

    def _once(self, what: str, of: Any, make: Callable[[], Any]) -> Any:
        """What `make` makes, kept until the same thing is asked for `of` something else."""
        key = canonical_json(of)
        if self._kept.get(what, ("", None))[0] != key:
            self._kept.pop(what, None)
            self._kept[what] = (key, make())
        return self._kept[what][1]

    def _normalization(self, synset: Synset) -> Mapping[str, Any]:
        """How test pictures are normalised: as the set's own; the literal protocol has .5/.5 for CIFAR-10 and its kin.

        On ImageNet subsets the script has ImageNet's mean and deviation, which are the sets' own. Of other datasets it
        knows nothing; they keep their own statistics, and what is literal is how students are trained.
        """
        if self.protocol != "fred-literal" or plain_name(self.dataset.name) != SCRIPT_LEVEL_OF:
            return synset.normalization
        levels = [_LITERAL_LEVEL] * self.dataset.channels
        return {"kind": "mean-std", "mean": levels, "std": levels}

    def _domain_key(self, name: str, normalization: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.domains.key(name), "normalization": dict(normalization)}

    def _outcomes(self, entrant: Entrant, group: Sequence[StudentPlan], name: str) -> Outcomes:
        """What is stored of these students' predictions on domain `name`."""
        key = self._domain_key(name, self._normalization(entrant.synset))
        return Outcomes([stored_predictions(plan.scores_file(key)) for plan in group], self.domains.labels_of(name))

    def _row(self, entrant: Entrant, plans: Mapping[str, list[StudentPlan]], names: Sequence[str]) -> Row:
        spec, ledger = entrant.spec, entrant.synset.ledger
        first = next(iter(plans))
        clean = {
            network: summarise([values[0] for values in self._outcomes(entrant, group, CLEAN).accuracies()])
            for network, group in plans.items()
        }
        scores = {
            network: {
                **row_scores(
                    self.domains, names, partial(self._outcomes, entrant, group), calibration=self.calibration
                ),
                **{key: v for probe in self._probes for key, v in probe.fields(self._seen(entrant, group)).items()},
            }
            for network, group in plans.items()
        }
        row = Row(
            run=str(entrant.folder.path),
            dataset=spec.dataset,
            method=spec.method,
            objective=spec.objective,
            parameterization=spec.parameterization,
            iterations=spec.iterations,
            ipc=spec.ipc,
            seed=spec.seed,
            params=ledger.params,
            params_strict=ledger.params_strict,
            decoded=ledger.decoded,
            storage=self._storage(entrant),
            students=len(plans[first]),
            network=first,
            preset=spec.preset,
            recipe=_describe(spec, {network: group[0].recipe for network, group in plans.items()}),
            control=spec.is_control,
            start=spec.is_start,
            protocol=self.protocol,
            train_labels=self.labels,
            augmentation=self.augmentation,
            own_labels=str(entrant.synset.header["labels"].get("kind", "hard")),
            teacher=self._teacher_of(spec),
            source=self.domains.source,
            limit=self.domains.limit,
            corrupted_limit=self.domains.corrupted_limit if set(names) & set(self.domains.suite.corruptions) else None,
            partial={**self.dataset.partial, **self.domains.partial},
            suite=self.domains.built.name if len(names) > 1 else "",
            framing=self.domains.described,
            clean=clean[first],
            networks=clean if self.networks else {},
            published=self.published(spec),
            assumed=tuple(entrant.synset.header.get("imported", {}).get("assumed", ())),
            **scores[first],
        )
        return in_networks(row, clean, scores)

    def _teacher_of(self, spec: Spec) -> Mapping[str, Any]:
        """What a row says of the teacher that labelled for it; nothing where none did."""
        if self.labels != "relabelled" or self.teacher is None:
            return {}
        return self.teacher.described(spec.split, self.domains)

    def _storage(self, entrant: Entrant) -> Storage:
        """The bytes of a set, beside the training pictures of this dataset that it stands for."""
        height, width = self.dataset.size
        pictures = training_count(self.dataset, entrant.spec.split)
        return dataclasses.replace(entrant.synset.storage, pixels=pictures * height * width)

    def published(self, spec: Spec) -> Mapping[str, Any] | None:
        """What the literature prints for a run on these domains; None where nothing may stand beside it."""
        shape = (self.dataset.channels, *self.dataset.size)
        published_budget = Budget.for_ipc(spec.ipc, len(self.dataset.classes), shape).scalars
        # `ipc` names the whole pictures that a budget given in scalars buys, and is 1 where it buys none.
        if spec.is_start or not self.domains.comparable or spec.budget != published_budget:
            return None
        return published_row(
            self.domains.built,
            dataset=plain_name(spec.dataset),
            method=spec.method,
            objective=spec.objective,
            parameterization=spec.parameterization,
            ipc=spec.ipc,
            counted=bool(spec.parameterization_settings.get("count_hallucinators", False)),
        )


def _describe(spec: Spec, recipes: Mapping[str, TrainingRecipe]) -> str:
    """Effort in words; recipes: of the students, by network, which differ in what they are run by alone."""
    steps = f"{spec.iterations} iterations, " if spec.iterations else ""
    if spec.iterations and "experts" in spec.objective_settings:
        steps += f"{spec.objective_settings['experts']} experts, N = {spec.objective_settings['steps']}, "
    recipe = next(iter(recipes.values()))
    effort = f"{spec.preset}: {steps}{recipe.epochs} epochs at lr {recipe.lr:g}"
    # A start has its run's arithmetic in its name, and nothing was computed by it.
    made = ["distilled"] if spec.arithmetic in REDUCED and (spec.iterations or spec.is_choice) else []
    reduced = [network for network, each in recipes.items() if each.arithmetic in REDUCED]
    if reduced:
        made.append("students" if len(reduced) == len(recipes) else f"students of {', '.join(reduced)}")
    return f"{effort}, {' and '.join(made)} by bfloat16 products" if made else effort
