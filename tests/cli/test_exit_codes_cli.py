"""The contract of all commands: exit codes, and a help that ends in two runnable examples."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from commands import ROOT, TINY, Child, interpret, invoke, waiting

import fredbench
from fredbench.cli import _COMMANDS, cli
from fredbench.foundation.errors import (
    ArtefactError,
    BudgetError,
    CheckFailedError,
    CompatibilityError,
    DataError,
    FredbenchError,
    StorageError,
    UnknownNameError,
    UsageError,
)

# A command whose module does not exist would be a dead line in the help.
MODULES = {name: ROOT / "fredbench" / "cli" / f"{module}.py" for name, (module, _) in _COMMANDS.items()}
CONTRACT = {
    "quickstart", "distill", "evaluate", "corrupt", "corrupt-eval", "suite", "report", "verify", "show", "export",
    "list", "data", "doctor",
}  # fmt: skip


REFUSALS = (UsageError, DataError, ArtefactError, BudgetError, StorageError, CompatibilityError, FredbenchError)


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and subcommand, by the words that call it."""
    context = click.Context(cli)
    for name in _COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        yield (name,), command
        if isinstance(command, click.Group):
            for sub in command.list_commands(context):
                yield (name, sub), command.get_command(context, sub)


def test_every_command_of_the_contract_exists() -> None:
    assert set(_COMMANDS) >= CONTRACT
    assert [name for name, file in MODULES.items() if not file.is_file()] == []


def test_every_help_ends_in_two_runnable_examples() -> None:
    found = [((), cli), *commands()]
    assert len(found) > len(_COMMANDS)
    for words, command in found:
        outcome = invoke(*words, "--help")
        assert outcome.code == 0 and outcome.err == "", words
        lines = outcome.out.rstrip().splitlines()
        examples = [line.strip() for line in lines[-2:]]
        assert lines[-3].strip() == "Examples:", (words, lines[-4:])
        for example in examples:
            assert example.startswith("fredbench "), words
            runnable(example)
        assert command.help, words
        if words:
            assert any(example.startswith(f"fredbench {' '.join(words)}") for example in examples), words


def runnable(example: str) -> None:
    """The words of an example are a command, its options and as many arguments as it takes."""
    arguments = shlex.split(example)[1:]
    context = click.Context(cli, info_name="fredbench")
    command: click.Command = cli
    while isinstance(command, click.Group):
        name = arguments.pop(0)
        found = command.get_command(context, name)
        assert found is not None, example
        command = found
    # Paths of examples need not exist here.
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type = click.Path(path_type=Path)
    command.make_context(command.name, arguments)


def test_short_help_flag_and_version() -> None:
    assert invoke("-h").out == invoke("--help").out
    version = invoke("--version")
    assert version.code == 0 and fredbench.__version__ in version.out


def test_a_fresh_interpreter_shows_its_help_without_torch() -> None:
    outcome = interpret("--help")
    assert outcome.code == 0 and outcome.err == ""
    for name in _COMMANDS:
        assert f"  {name} " in outcome.out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        *((kind("wrong", hint="mend"), 2) for kind in REFUSALS),
        (UnknownNameError("thing", "x", ["y"]), 2),
        (CheckFailedError("wrong", hint="mend"), 1), (KeyboardInterrupt(), 130), (click.Abort(), 130),
        (click.UsageError("wrong"), 2), (OSError(5, "Input/output error", "/some/file"), 2), (BrokenPipeError(), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)  # fmt: skip
def test_errors_become_exit_codes_in_one_place(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    @click.command("raises")
    def raises() -> None:
        raise error

    monkeypatch.setattr(cli, "get_command", lambda context, name: raises)
    if isinstance(error, BrokenPipeError):
        # It hands stdout's descriptor away, which a child can spare better than this process.
        assert piped_to_a_reader_that_leaves() == 0
        return
    outcome = invoke("distill")
    assert outcome.code == code and outcome.out == "" and "Traceback" not in outcome.err
    if code == 2:
        said, hint = outcome.problem()
        assert said and hint
    if code == 1:
        assert outcome.err == "error: wrong\nhint: mend\n"


def piped_to_a_reader_that_leaves() -> int:
    import os
    import subprocess
    import sys

    from commands import environment

    code = "from fredbench.cli import cli; cli.main(args=['--help'] , prog_name='fredbench')"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, cwd=ROOT, env=environment(), timeout=60)
    os.close(writer)
    return done.returncode


def test_an_error_of_several_lines_is_said_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command("raises")
    def raises() -> None:
        raise DataError("first\nsecond\n  third", hint="one\ntwo")

    monkeypatch.setattr(cli, "get_command", lambda context, name: raises)
    assert invoke("distill").problem() == ("first second third", "one two")


def test_a_mistake_of_ours_is_not_dressed_as_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command("raises")
    def raises() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "get_command", lambda context, name: raises)
    with pytest.raises(ZeroDivisionError):
        invoke("distill")


def test_an_interrupt_while_students_train_is_resumable(tmp_path: Path) -> None:
    distill = ("distill", "digits", "--ipc", "1", "--objective", "dm", "--preset", "quick", *TINY, "--iterations", "0")
    assert invoke(*distill, "--store", tmp_path / "runs").code == 0
    score = ("corrupt-eval", "--suite", "digitsc", "--limit", "10", "--severity", "1", "--threads", "1", "--offline")
    child = Child(tmp_path / "log", *score, "--students", "40", "--store", tmp_path / "runs")
    for _ in waiting():
        if len(list((tmp_path / "runs").rglob("cells/student-*"))) >= 2:
            break
        assert child.alive, child.errors()
    child.kill(signal.SIGINT)
    stopped = child.outcome()
    assert (stopped.code, stopped.out) == (130, ""), stopped.err
    assert "run the same command again" in stopped.err
    assert not list((tmp_path / "runs").rglob("*.part"))
    kept = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("cells/student-*")}
    again = invoke(*score, "--students", "3", "--store", tmp_path / "runs")
    assert again.code == 0, again.err
    assert {path: path.read_bytes() for path in kept} == kept
