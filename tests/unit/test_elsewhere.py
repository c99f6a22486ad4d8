"""The code on docs/elsewhere.md that needs nothing but our own dependencies runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import ROOT

import fredbench
from fredbench.datasets import load_dataset
from fredbench.runs.exporting import export

PAGE = (ROOT / "docs" / "elsewhere.md").read_text()
BLOCKS = dict(re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def test_the_pages_code_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    run = fredbench.distill("digits", ipc=1, method="random", preset="quick", store=tmp_path / "runs", threads=threads)
    synset = fredbench.load(run.path)
    for form, target in (("npz", "set.npz"), ("safetensors", "set.safetensors"), ("imagefolder", "pictures")):
        export(synset, form, tmp_path / target)
    few = load_dataset("digits").test.take(np.arange(4))
    levels = [fredbench.corrupt(few.images, "shot_noise", severity, profile="cifar") for severity in range(1, 6)]
    (tmp_path / "digits-c").mkdir()
    np.save("digits-c/shot_noise.npy", np.concatenate(levels))
    np.save("digits-c/labels.npy", np.tile(few.labels, 5))

    assert BLOCKS.keys() == {"plain.py", "tensors.py", "folders.py", "renormalised.py"}
    seen: dict[str, dict[str, Any]] = {name: {} for name in BLOCKS}
    for name, code in BLOCKS.items():
        exec(compile(code, name, "exec"), seen[name])

    plain, tensors, folders = (seen[name] for name in ("plain.py", "tensors.py", "folders.py"))
    assert torch.equal(plain["images"], synset.images) and torch.equal(tensors["images"], synset.images)
    assert plain["batch"].shape == (4, 3, 32, 32) and plain["wanted"].tolist() == few.labels.tolist()
    assert tensors["said"]["normalization"] == synset.normalization
    # Whole grey levels: PNGs give the very values, in the order of the labels.
    torch.testing.assert_close(folders["picture"], synset.images[0], rtol=0, atol=1e-5)
    assert [label for _, label in folders["pictures"]] == [label for _, label in folders["same"]] == list(range(10))
    moved = seen["renormalised.py"]
    there = moved["images"] * moved["std"] + moved["mean"]
    torch.testing.assert_close(there, synset.levels(synset.images), rtol=0, atol=1e-5)
