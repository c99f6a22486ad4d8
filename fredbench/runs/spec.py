"""What is asked of one run, completely and canonically: the spec. Its digest names the run's folder."""

from __future__ import annotations

import dataclasses
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import tomli_w

from fredbench.foundation.config import to_mapping
from fredbench.foundation.errors import ArtefactError
from fredbench.foundation.files import canonical_json
from fredbench.networks.names import Arithmetic
from fredbench.objectives import coresets
from fredbench.parameterizations import PARAMETERIZATIONS
from fredbench.training.loop import TrainingRecipe

__all__ = ["Spec"]

# Fields of a spec that stand in sections of their own.
_SECTIONS = frozenset(
    {
        "objective_settings",
        "parameterization_settings",
        "label_settings",
        "data_settings",
        "student",
        "student_network",
        "students",
    }
)


@dataclass(frozen=True)
class Spec:
    """One run. Equal specs give equal bytes on the CPU; anything that may change them is in here.

    A set that was made elsewhere is a run of objective `IMPORTED`: nothing was distilled here.
    """

    IMPORTED: ClassVar[str] = "imported"

    dataset: str
    fingerprint: str
    split: Literal["train", "train without validation"]
    method: str
    objective: str
    parameterization: str
    ipc: int
    budget: int
    preset: str
    seed: int
    iterations: int
    network: str
    device: str
    threads: int
    objective_settings: Mapping[str, Any]
    parameterization_settings: Mapping[str, Any]
    student_network: str
    students: int
    student: TrainingRecipe
    label_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    arithmetic: Arithmetic = "eager"

    def to_mapping(self) -> dict[str, Any]:
        """Sections as in spec.toml: `run`, `objective`, `parameterization`, `student`; `labels` unless hard; `data`
        unless pictures are normalised by the dataset's own statistics alone. The arithmetic of networks is left out
        where it is eager, as it was before there was another: runs of that time are not taken for others.
        """
        run = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in _SECTIONS
        }
        if self.arithmetic == "eager":
            del run["arithmetic"]
        labels = {"labels": dict(self.label_settings)} if self.label_settings else {}
        data = {"data": dict(self.data_settings)} if self.data_settings else {}
        student = {"network": self.student_network, "students": self.students, **to_mapping(self.student)}
        return {
            "run": run,
            "objective": dict(self.objective_settings),
            "parameterization": dict(self.parameterization_settings),
            **labels,
            **data,
            "student": student,
        }

    def to_toml(self) -> str:
        """The canonical text of spec.toml."""
        return tomli_w.dumps(self.to_mapping())

    @staticmethod
    def from_toml(text: str, *, where: str) -> Spec:
        """The inverse of `to_toml`; `ArtefactError` when `text` is no spec."""
        try:
            sections = tomllib.loads(text)
        except ValueError as error:  # TOML's own errors are ValueErrors
            raise _no_spec(where, error) from error
        return Spec.from_mapping(sections, where=where)

    @staticmethod
    def from_mapping(sections: Mapping[str, Any], *, where: str) -> Spec:
        """The inverse of `to_mapping`; `ArtefactError` when `sections` are no spec."""
        try:
            student = dict(sections["student"])
            return Spec(
                **sections["run"],
                objective_settings=sections["objective"],
                parameterization_settings=sections["parameterization"],
                label_settings=sections.get("labels", {}),
                data_settings=sections.get("data", {}),
                student_network=student.pop("network"),
                students=student.pop("students"),
                student=TrainingRecipe.stored(student),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _no_spec(where, error) from error

    def digest(self) -> str:
        """Hex SHA-256 of the canonical spec."""
        return hashlib.sha256(canonical_json(self.to_mapping()).encode()).hexdigest()

    def folder_name(self) -> str:
        """A readable name that no two specs share."""
        dataset = self.dataset.replace(":", "-").replace("/", "-").strip("-.")[-40:]
        method = self.method.replace(":", "-")
        what = f"{dataset}-{method}-{self.objective}-ipc{self.ipc}-{self.preset}"
        return f"{what}-it{self.iterations}-s{self.seed}-{self.digest()[:8]}"

    def start(self) -> Spec:
        """The same run at zero iterations: what the parameterization alone gives."""
        return dataclasses.replace(self, iterations=0)

    def control(self) -> Spec:
        """Random real pictures of the same budget, scored by the same recipe."""
        return dataclasses.replace(
            self,
            method=coresets.RANDOM,
            objective=coresets.OBJECTIVE,
            parameterization=coresets.PARAMETERIZATION,
            iterations=0,
            objective_settings={},
            parameterization_settings=to_mapping(PARAMETERIZATIONS.get(coresets.PARAMETERIZATION).Config()),
            label_settings={},
            arithmetic="eager",
        )

    @property
    def is_control(self) -> bool:
        """Whether this is a random subset."""
        return self.method == coresets.RANDOM

    @property
    def is_choice(self) -> bool:
        """Whether this is a choice of real pictures, random or not: nothing is distilled."""
        return self.objective == coresets.OBJECTIVE

    @property
    def is_start(self) -> bool:
        """Whether this is a parameterization before its first iteration."""
        return self.iterations == 0 and not self.is_choice and not self.is_imported

    @property
    def is_imported(self) -> bool:
        """Whether this is a set that was made elsewhere."""
        return self.objective == self.IMPORTED


def _no_spec(where: str, error: Exception) -> ArtefactError:
    return ArtefactError(f"{where} is no spec of a run: {error}", hint="delete the folder")
