"""Synsets kept along a run, evenly spaced in iterations: what peers choose the best of, kept so that it can be told.

They are no part of what is asked of a run: its spec, its digest and every byte of its last set are the same with them
and without. The last of them is the run's own synset, so one file fewer than asked for lies in `checkpoints/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder
from fredbench.runs.synset import Synset, load

__all__ = ["check_none_missed", "kept", "kept_at", "spaced"]


def spaced(spec: Spec, count: int) -> tuple[int, ...]:
    """The iterations after which `count` checkpoints are due: rising, evenly spaced, the last one the run's end.

    Nothing for a `count` of 0. `UsageError` for a run without iterations, and for more checkpoints than those.
    """
    if count < 0:
        raise UsageError(f"--checkpoints must be 0 or more, not {count}", hint="10, say; 0 keeps the last set only")
    if count and not spec.iterations:
        raise UsageError("a run of no iterations has no checkpoints", hint="drop --checkpoints")
    if count > spec.iterations:
        raise UsageError(
            f"{count} checkpoints are more than the run's {spec.iterations} iterations",
            hint=f"give --checkpoints {spec.iterations} or fewer",
        )
    return tuple(spec.iterations * number // count for number in range(1, count + 1))


def kept_at(folder: RunFolder, iteration: int) -> Path:
    """Where the checkpoint after `iteration` lies, for all but the last."""
    return folder.checkpoints / f"iteration-{iteration}.safetensors"


def check_none_missed(spec: Spec, folder: RunFolder, asked: Sequence[int], *, reached: int) -> None:
    """`UsageError` where a run that is at iteration `reached` went past some of `asked` and did not keep them."""
    missed = [
        iteration
        for iteration in asked
        if iteration <= reached and iteration != spec.iterations and not kept_at(folder, iteration).is_file()
    ]
    if missed:
        shown = ", ".join(map(str, missed[:5])) + (" …" if len(missed) > 5 else "")
        state = "finished" if reached == spec.iterations else f"at iteration {reached}"
        raise UsageError(
            f"{folder.path.name} is {state} and kept no checkpoint of {len(missed)} of the {len(asked)} asked for "
            f"(iterations {shown})",
            hint="add --fresh to distill it anew and keep them, which ends in the same set; or drop --checkpoints",
        )


def kept(folder: RunFolder, spec: Spec) -> list[Synset]:
    """The checkpoints of a finished run in rising order of iteration, its own synset last.

    `ArtefactError` for a file that is damaged or of another run.
    """
    found = [load(file) for file in folder.checkpoints.glob("iteration-*.safetensors")]
    for synset in found:
        if synset.header.get("spec_sha256") != spec.digest():
            raise ArtefactError(
                f"{folder.checkpoints} holds a set of another run", hint="distill again with --checkpoints and --fresh"
            )
    return [*sorted(found, key=lambda synset: int(synset.header["iterations"])), load(folder.synset_file)]
