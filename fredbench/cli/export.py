"""`fredbench export`: take a synset elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from fredbench.cli.options import data_options, examples, store_option
from fredbench.cli.show import make_visible, opened
from fredbench.foundation.errors import UsageError
from fredbench.foundation.progress import say
from fredbench.runs.exporting import FORMS, OF_PICTURES, export, rounding_loss, split_words
from fredbench.runs.store import Store

__all__ = ["command"]


@click.command(
    "export",
    epilog=examples(
        "fredbench export runs/my-run --to npz --out my-run.npz",
        "fredbench export my-run --to parquet --out my-dataset",
    ),
)
@click.argument("run")
@click.option("--to", "form", type=click.Choice(list(FORMS)), required=True, help="The form to write.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File or folder to write; must not exist.")
@store_option
@data_options
def command(run: str, form: str, out: Path, store: Path, data: Path | None, offline: bool) -> None:
    """Write RUN's decoded pictures and labels in a form that other tools read. Prints where they lie.

    imagefolder and parquet hold 8-bit PNGs, which is lossy; npz and safetensors hold the exact float32 values in the
    space that students are trained in, with the normalisation beside them. parquet is a folder as the Hugging Face Hub
    has it, with a card (it needs pyarrow: pip install 'fredbench[parquet]'). Of a ZCA-whitened set the PNGs are of
    pictures with the whitening undone, which needs its fit: the store's, or that of the run's dataset.
    """
    folder, synset = opened(run, Store(store))
    if synset is None:
        raise UsageError(f"{run} has no synset yet", hint="run its distill command again to go on")
    if form in OF_PICTURES and not out.exists():
        make_visible(synset, folder, store, data=data, offline=offline)
    export(synset, form, out)
    if form in OF_PICTURES:
        rms, clipped = rounding_loss(synset)
        say(
            f"note: 8 bits are lossy: values moved by {rms:.2f} of 255 levels (RMS), {100 * clipped:.1f} % were "
            "clipped; npz and safetensors keep the exact values"
        )
        if form == "imagefolder" and (words := split_words(synset.classes)):
            say(
                f"note: classes called like a split ({', '.join(words)}) are written in brackets, so that datasets and "
                f'timm do not take them for one; with datasets data_files={{"train": "{out}/**"}} is safe in any case'
            )
    click.echo(str(out))
