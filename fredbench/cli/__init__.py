"""The command line: one click command a file (they share `options`, `pictures`, `diagnosis`); parses, calls, prints.

Errors become exit codes here and only here.
Exit codes: 0 done; 1 a check or verification failed; 2 bad usage or bad input; 130 interrupted, resumable.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from fredbench import __version__
from fredbench.foundation.errors import CheckFailedError, FredbenchError, UnknownNameError
from fredbench.foundation.progress import say

__all__ = ["cli", "main"]

# command -> (module, the line `fredbench --help` shows). Modules are imported when their command is used.
_COMMANDS: dict[str, tuple[str, str]] = {
    "quickstart": ("quickstart", "The whole main job on the embedded digits, in minutes, without a network."),
    "distill": ("distill", "Make a synset: a distilled set within a budget."),
    "recipe": ("recipe", "Say which settings a run would take from the recipes, and where they come from."),
    "experts": ("experts", "Train or extend the experts that trajectory matching reads."),
    "evaluate": ("evaluate", "Train students on synsets and score the clean test split."),
    "import": ("import_set", "Take in a distilled set made elsewhere, whatever form it was published in."),
    "score": ("score", "Import a distilled set and score it on clean and corrupted pictures, in one go."),
    "corrupt": ("corrupt", "Write a corrupted test set, or draw the 15 x 5 grid of one picture."),
    "perturb": ("perturb", "Write perturbation sequences of test pictures, or draw those of one."),
    "corrupt-eval": ("corrupt_eval", "Cross-domain accuracy table: clean and 15 corruptions."),
    "report": ("report", "One self-contained HTML page of finished runs."),
    "submit": ("submit", "Write the scores of a run as a result file, with all that made them."),
    "board": ("board", "A leaderboard made of result files: a static site that fetches nothing."),
    "check": ("check", "Regression gate: hold runs against a reference file, or record one."),
    "compare": ("compare", "A run against kept predictions, picture by picture; or keep those of a grid."),
    "verify": ("verify", "Re-derive what an artefact or a result file claims."),
    "show": ("show", "Say what a run holds, or draw its pictures."),
    "export": ("export", "Take a synset elsewhere: image folder, Parquet, npz, safetensors."),
    "list": ("list_things", "What there is: datasets, methods, networks, corruptions, runs, ..."),
    "suite": ("suite", "Corruption suites and grids of runs: list, show, plan, run, status."),
    "data": ("data", "Bring, check, pack a dataset."),
    "doctor": ("doctor", "Versions, devices, data found, disk and memory, with the fix for what is missing."),
}


class _Cli(click.Group):
    """A group that imports its commands lazily and turns errors into the contract's exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"fredbench.cli.{_COMMANDS[cmd_name][0]}")
        command = module.command
        if not isinstance(command, click.Command):
            raise TypeError(f"fredbench.cli.{_COMMANDS[cmd_name][0]}.command is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS:
            raise UnknownNameError("command", args[0], _COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Short lines from the table, so that `fredbench --help` imports nothing heavy.
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs["standalone_mode"] = False
        try:
            # Without standalone mode click hands back the code of ctx.exit(), or the callback's own value.
            value = super().main(*args, **kwargs)
            code = value if isinstance(value, int) else 0
            sys.stdout.flush()
        except click.exceptions.Exit as stop:
            code = stop.exit_code
        except (KeyboardInterrupt, click.Abort):
            say("interrupted; run the same command again to go on where it stopped")
            code = 130
        except click.ClickException as error:
            # Newer clicks hand the whole help over as the message when a group is called without a command.
            bare = isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ()))
            _complain("no command given" if bare else error.format_message(), _help_hint(error))
            code = 2
        except FredbenchError as error:
            if _debug():
                traceback.print_exc()
            _complain(error.message, error.hint)
            code = 1 if isinstance(error, CheckFailedError) else 2
        except (BrokenPipeError, SystemExit):
            # The reader (`head`, say) went away, which click answers with an exit of its own: not an error of
            # ours; keep the interpreter from complaining.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except OSError as error:
            # What no module foresaw: the system refused a path or a device that the user named.
            if _debug():
                traceback.print_exc()
            place = f"{error.filename}: " if error.filename else ""
            _complain(f"{place}{error.strerror or error}", "check that path, its permissions and the space left")
            code = 2
        sys.exit(code)


def _debug() -> bool:
    return os.environ.get("FREDBENCH_DEBUG", "") not in {"", "0"}


def _first_line(text: str) -> str:
    return " ".join(text.split())


def _complain(message: str, hint: str) -> None:
    say(f"error: {_first_line(message)}")
    if hint:
        say(f"hint: {_first_line(hint)}")


def _help_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"see `{context.command_path} --help`" if context is not None else "see `fredbench --help`"


def _load_plugins(files: Sequence[str]) -> None:
    from fredbench.foundation.plugins import load_entry_points, load_file

    load_entry_points()
    for file in files:
        load_file(file)


@click.command(
    cls=_Cli,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="\b\nExamples:\n  fredbench quickstart\n  fredbench distill cifar10 --ipc 1 --objective dm --preset quick",
)
@click.version_option(__version__, prog_name="fredbench")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="FILE.py",
    help="Load a plug-in file that registers methods, objectives, ... (repeatable).",
)
def cli(debug: bool, plugins: tuple[str, ...]) -> None:
    """Robustness benchmark suite for dataset distillation."""
    if debug:
        os.environ["FREDBENCH_DEBUG"] = "1"
    _load_plugins(plugins)


def main() -> NoReturn:
    """Entry point of the `fredbench` command."""
    cli.main(prog_name="fredbench")
