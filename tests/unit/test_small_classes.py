"""A set from noise may hold more pictures a class than there are real ones; it has no control then, and says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from spine import set_of, spec_of

from fredbench.datasets import Dataset
from fredbench.evaluation.entrants import Entrant, with_companions
from fredbench.runs import distillation
from fredbench.runs.store import Store


@pytest.mark.parametrize("few", [3, 40])
def test_a_noise_start_beside_a_small_class_is_scored_without_a_control(
    tmp_path: Path, few: int, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = set_of(2, (8, 8))
    kept = np.concatenate([whole.train.class_indices(0), whole.train.class_indices(1)[:few]])
    dataset = Dataset.from_splits("small", whole.train.take(kept), whole.test, whole.classes)
    spec = spec_of(
        dataset, ipc=4, objective="dm", parameterization="pixels", network="convnet-d1-w4-in",
        overrides=("parameterization.init=noise",),
    )  # fmt: skip
    store = Store(tmp_path)
    folder = store.folder_for(spec)
    distillation.run(spec, dataset, folder)
    group = with_companions([Entrant.of(folder)], store, dataset)
    assert [entrant.spec.is_control for entrant in group] == ([False, False] if few == 3 else [False, False, True])
    assert ("class 'class 1' has 2 training pictures, 4 a class are stored" in capsys.readouterr().err) == (few == 3)
