"""`fredbench import`: a distilled set made elsewhere becomes a run of the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fredbench.cli.options import data_options, device_option, examples, store_option
from fredbench.foundation.device import resolve_device, use_threads
from fredbench.foundation.errors import UsageError
from fredbench.importing import Asked, found_runs
from fredbench.recipes.presets import PRESETS
from fredbench.runs.store import RunFolder, Store
from fredbench.runs.synset import load

__all__ = ["command", "imported", "set_options"]


def set_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a user may say of a set whose file does not."""
    for option in (
        click.option("--preset", type=click.Choice(list(PRESETS)), help="How students are trained.  [default: paper]"),
        click.option("--name", help="What to call it.  [default: after the file]"),
        click.option("--step-size", type=float, help="Students' rate, where a learned one is released apart."),
        click.option("--temperature", type=float, default=1.0, show_default=True, help="Logits are divided by it."),
        click.option("--factor", type=int, help="By which stored pictures are to be cut and enlarged (IDC, NCFM)."),
        click.option(
            "--channels", type=click.Choice(["rgb", "bgr"]), default="rgb", show_default=True, help="Order of colours."
        ),
        click.option(
            "--classes", type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="A file with the class names in the set's label order, one a line.",
        ),
        click.option(
            "--labels", type=click.Choice(["auto", "as-given", "hard", "probability", "logits", "centred"]),
            default="auto", show_default=True, help="What labels are; as-given: whatever the pictures say.",
        ),
        click.option(
            "--columns", help="PICTURE,LABEL: what a CSV or Parquet calls them.  [default: the usual names]",
        ),
        click.option(
            "--space", help="Which values pictures have: own, unit, levels, half, imagenet, cifar10, zca-mtt, "
            "zca-frepo, zca-kip, or MEAN/STD.  [default: found out]",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def _asked_of(
    *,
    space: str | None,
    columns: str | None,
    labels: Any,
    classes: Path | None,
    channels: Any,
    factor: int | None,
    temperature: float,
    step_size: float | None,
    name: str | None,
    preset: str | None,
) -> Asked:
    """The options of `set_options` as what the importer is asked."""
    if not temperature > 0 or (step_size is not None and not step_size > 0):
        raise UsageError("--temperature and --step-size are positive", hint="leave them out where nothing is known")
    names = (
        ()
        if classes is None
        else tuple(line.strip() for line in classes.read_text("utf-8").splitlines() if line.strip())
    )
    return Asked(
        space=space, labels=labels, classes=names, channels=channels, factor=factor, temperature=temperature,
        step_size=step_size, name=name, preset=preset,
        columns=tuple(part.strip() for part in columns.split(",")) if columns else (),
    )  # fmt: skip


def imported(
    path: Path, store: Path, said: dict[str, Any], *, dataset: str, data: Path | None, offline: bool, device: str,
    threads: int | None,
) -> RunFolder:  # fmt: skip
    """The run that `path` is in `store`; what was assumed of it is told on stderr."""
    if not path.exists():
        raise UsageError(f"there is no {path}", hint="give the file or the folder of a distilled set")
    (run,) = found_runs(
        [str(path)], Store(store), dataset=dataset, data=data, offline=offline,
        device=str(resolve_device(device)), threads=use_threads(threads), asked=_asked_of(**said),
    )  # fmt: skip
    _tell(run)
    return run


def _tell(run: RunFolder) -> None:
    header = load(run.synset_file).header
    said = header.get("imported")
    if said is None:
        return
    click.echo(f"{said['file']}: {said['form']}", err=True)
    for line in said["assumed"]:
        click.echo(f"  {line}", err=True)
    for line in said["evidence"][:3]:
        click.echo(f"  space {line}", err=True)


@click.command(
    "import",
    epilog=examples(
        "fredbench import images_best.pt --dataset cifar10",
        "fredbench import my-pictures --dataset digits --columns file,digit",
    ),
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--dataset", "--as", "dataset", required=True, help="The dataset that it is of.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of runs to put it in.  [default: --store]"
)
@set_options
@device_option
@store_option
@data_options
def command(
    path: Path,
    dataset: str,
    out: Path | None,
    device: str,
    threads: int | None,
    store: Path,
    data: Path | None,
    offline: bool,
    **said: Any,
) -> None:
    """Take in the distilled set at PATH. The last line on stdout is the run's folder.

    Reads what the public codes save (.pt by weights-only loading, .npy, .npz, .safetensors), Parquet of the Hugging
    Face Hub, folders of class folders, folders of pictures with a CSV of labels, and fredbench's own synsets and
    exports. Which values the pictures have and whether the labels are the dataset's is found out and told; where it is
    not clear the command stops and says what was found.
    """
    run = imported(
        path, out or store, said, dataset=dataset, data=data, offline=offline, device=device, threads=threads
    )
    click.echo(str(run.path))
