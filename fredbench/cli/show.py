"""`fredbench show`: what a run holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fredbench.cli.options import data_options, examples, format_option, store_option
from fredbench.foundation.coding import CODER
from fredbench.foundation.errors import UsageError
from fredbench.foundation.files import write_bytes
from fredbench.foundation.progress import say
from fredbench.report.simple import simple_table
from fredbench.runs.preprocessing import FOLDER as FITS
from fredbench.runs.sources import dataset_of
from fredbench.runs.store import RunFolder, Store
from fredbench.runs.synset import Synset, load

__all__ = ["command", "make_visible", "opened"]

_LEDGER = (
    ("params", "#Params, the literature's convention"),
    ("params_strict", "everything counted (strict)"),
    ("mask_bits", "mask bits (32 count as one scalar in strict)"),
    ("label_scalars", "learned labels"),
    ("step_size_scalars", "learned step size"),
    ("decoder_scalars", "decoder weights"),
    ("half_scalars", "numbers of two bytes, two of which are one of #Params and two in strict"),
    ("decoded", "pictures they become"),
)


@click.command(
    "show",
    epilog=examples(
        "fredbench show runs/my-run",
        "fredbench show my-run --pictures my-run.png",
    ),
)
@click.argument("run")
@click.option(
    "--pictures", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png", help="Also draw the set, as PNG."
)
@click.option(
    "--size",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Decode those pictures with so many pixels a side; of what decodes at any resolution only (ddif).",
)
@format_option
@store_option
@data_options
def command(
    run: str, pictures: Path | None, size: int | None, form: str, store: Path, data: Path | None, offline: bool
) -> None:
    """Say what RUN (a run's folder, its name in the store, or a synset file) holds: card, budget, progress."""
    if size is not None and pictures is None:
        raise UsageError("--size is of the pictures that are drawn", hint="add --pictures FILE.png")
    folder, synset = opened(run, Store(store))
    if pictures is not None:
        if synset is not None:
            make_visible(synset, folder, store, data=data, offline=offline)
        _draw(synset, pictures, size)
    facts = _facts(folder, synset)
    if form == "json":
        click.echo(json.dumps(facts, indent=1, allow_nan=False))
        return
    if form in {"csv", "latex"} or synset is None:
        lines = [(section, key, _text(value)) for section, values in facts.items() for key, value in values.items()]
        click.echo(simple_table(("section", "item", "value"), lines, form))
        return
    click.echo(synset.card())
    ledger = facts["budget"]
    counts = [
        ("may store, at most", f"{ledger['budget']:,}"),
        *((what, f"{ledger[key]:,}") for key, what in _LEDGER if key in ledger),
    ]
    click.echo(simple_table(("budget", "count"), [*counts, *_bytes(synset)], form))
    if folder is not None:
        click.echo()
        click.echo(simple_table(("progress", ""), [(k, _text(v)) for k, v in facts["progress"].items()], form))


def _bytes(synset: Synset) -> list[tuple[str, str]]:
    """The lines of the budget that count bytes."""
    storage = synset.storage
    kinds = ", ".join(f"{name} {kind}" for name, kind in storage.types.items())
    lines = [(f"bytes stored ({kinds})", f"{storage.stored:,}"), (f"bytes after {CODER}", f"{storage.coded:,}")]
    for what, size in (("stored", storage.stored), ("coded", storage.coded)):
        bits = storage.bits_a_pixel(size)
        text = "its header does not say how many real pictures" if bits is None else f"{bits:.6f}"
        lines.append((f"bits a pixel of the real training pictures, {what}", text))
    return lines


def opened(run: str, store: Store) -> tuple[RunFolder | None, Synset | None]:
    """The run's folder (None for a bare synset file) and its synset (None while there is none yet)."""
    if Path(run).is_file():
        return None, load(run)
    folder = store.find(run)
    return folder, load(folder.synset_file) if folder.synset_file.is_file() else None


def make_visible(synset: Synset, folder: RunFolder | None, store: Path, *, data: Path | None, offline: bool) -> None:
    """Give a whitened set the fit by which its pictures can be looked at, and say so: the store's, or the data's.

    Of a file without its run nothing but a store's fit can be taken; without one pictures are refused when asked for.
    """
    if not synset.whitened:
        return
    fits = (store if folder is None else folder.path.parent) / FITS
    if not synset.find_fit(fits) and folder is not None:
        synset.fit_to(dataset_of(folder, data=data, offline=offline), fits=fits)
    say("note: the set is ZCA-whitened; in its pictures the whitening is undone, for looking at")


def _draw(synset: Synset | None, file: Path, size: int | None) -> None:
    from fredbench.report.pictures import picture_sheet

    if synset is None:
        raise UsageError("this run has no pictures yet", hint="run its distill command again to go on")
    if file.suffix.lower() != ".png":
        raise UsageError(f"--pictures {file} is no PNG file name", hint="end it in .png")
    write_bytes(file, picture_sheet(synset, side=size))
    say(f"pictures in {file}")


def _facts(folder: RunFolder | None, synset: Synset | None) -> dict[str, dict[str, Any]]:
    """What is known, by section; values are plain."""
    facts: dict[str, dict[str, Any]] = {}
    if folder is not None:
        facts["run"] = {"folder": str(folder.path), **folder.spec().to_mapping()["run"]}
    if synset is not None:
        plain = {key: value for key, value in synset.header.items() if key not in {"ledger", "tensors"}}
        facts["header"] = plain
        facts["budget"] = {"budget": synset.header["budget"], **synset.ledger.to_mapping()}
        facts["storage"] = synset.storage.to_mapping()
    if folder is not None:
        facts["progress"] = _progress(folder)
    return facts


def _progress(folder: RunFolder) -> dict[str, Any]:
    """How far the run is, and the first and last values that it logged."""
    total = folder.spec().iterations
    logged = _logged(folder)
    state = "finished" if folder.finished else "unfinished: its distill command goes on with it"
    found: dict[str, Any] = {"state": state, "iterations": total}
    if logged:
        first, last = logged[0], logged[-1]
        found["last logged iteration"] = last["iteration"]
        for name in sorted(last.keys() - {"iteration"}):
            found[f"{name}, first and last logged"] = [first.get(name), last[name]]
    if folder.finished:
        found["seconds"] = folder.result().get("seconds")
    if kept := len(list(folder.checkpoints.glob("iteration-*.safetensors"))):
        found["checkpoints kept"] = kept + folder.finished
    found["trained students"] = len(list(folder.students.glob("student-*.safetensors")))
    return found


def _logged(folder: RunFolder) -> list[Mapping[str, Any]]:
    """Whole lines of progress.jsonl; the last one of a killed run may be cut and is left out."""
    lines = []
    for line in folder.progress_file.read_text().splitlines() if folder.progress_file.is_file() else ():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines


def _text(value: Any) -> str:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(item, float) for item in value):
        return " → ".join(f"{item:.4g}" for item in value)
    return value if isinstance(value, str) else json.dumps(value)
