"""Running `fredbench` as users do: in this process, in a child that can be killed, or in a fresh interpreter.

Children are forked from a server that has imported the program once: as good as fresh, without the seconds that an
import of torch takes.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
PRELOADED = ["fredbench.cli.distill", "fredbench.cli.corrupt_eval", "torch._dynamo", "sklearn.datasets"]
# A distillation of moments: everything real, nothing large.
TINY = (
    *("--network", "convnet-d3-w8-in", "--set", "objective.batch_real=8", "--threads", "1"),
    *("--set", "student.epochs=1", "--set", "student.students=2", "--offline"),
)


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: its exit code, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def folder(self) -> Path:
        """The run's folder: the last line on stdout."""
        return Path(self.out.splitlines()[-1])

    def problem(self) -> tuple[str, str]:
        """The error and the hint of a refusal, which is two lines on stderr, nothing on stdout and code 2."""
        assert self.code == 2, f"exit code {self.code}: {self.err}"
        assert self.out == "" and "Traceback" not in self.err
        errors, hints = (
            [line.removeprefix(mark) for line in self.err.splitlines() if line.startswith(mark)]
            for mark in ("error: ", "hint: ")
        )
        assert len(errors) == len(hints) == 1 and errors[0].strip() and hints[0].strip(), self.err
        assert self.err.splitlines()[-2:] == [f"error: {errors[0]}", f"hint: {hints[0]}"], self.err
        return errors[0], hints[0]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables, none of fredbench's own but those in `extra`, on one thread."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FREDBENCH_")}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **(extra or {})}


def invoke(*arguments: object, env: Mapping[str, str] | None = None) -> Outcome:
    """Run a command in this process; an exception that is no refusal comes out as it is."""
    from fredbench.cli import cli

    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment(env), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = _exit_code(lambda: cli.main(args=[str(a) for a in arguments], prog_name="fredbench"))
    return Outcome(code, out.getvalue(), err.getvalue())


def interpret(
    *arguments: object, env: Mapping[str, str] | None = None, cwd: Path = ROOT, timeout: float = 300
) -> Outcome:
    """Run a command in a fresh interpreter."""
    command = [sys.executable, "-m", "fredbench", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment(env), timeout=timeout)
    return Outcome(done.returncode, done.stdout, done.stderr)


def _exit_code(call: object) -> int:
    assert callable(call)
    try:
        call()
    except SystemExit as stop:
        assert isinstance(stop.code, int)
        return stop.code
    raise AssertionError("the command line always exits")


class Child:
    """A command in a process of its own, with its output in files."""

    def __init__(
        self,
        scratch: Path,
        *arguments: object,
        env: Mapping[str, str] | None = None,
        prelude: str = "",
        piped: bool = False,
    ) -> None:
        """Start it; `prelude` is Python run in the child before the command (a limit, a trap).

        `piped`: stderr is a pipe, so that a limit on the size of files does not cut what is said of it.
        """
        scratch.mkdir(parents=True, exist_ok=True)
        self._out, self._err = scratch / "stdout", scratch / "stderr"
        self._pipe = Pipe(scratch / "pipe") if piped else None
        with mock.patch.dict(os.environ, environment(), clear=True):
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(PRELOADED)
            self.process: ForkServerProcess = context.Process(
                target=_in_child,
                args=(
                    [str(a) for a in arguments],
                    environment(env),
                    str(self._out),
                    str(self._pipe or self._err),
                    prelude,
                ),
                daemon=True,
            )
            self.process.start()

    def outcome(self, timeout: float = 120) -> Outcome:
        """Wait for the end; the code of a killed process is minus its signal's number."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, f"still running after {timeout} s: {self.errors()}"
        return Outcome(self.process.exitcode, self._out.read_text(), self.errors())

    def errors(self) -> str:
        """What it has written to stderr so far."""
        if self._pipe is not None:
            return self._pipe.text()
        return self._err.read_text() if self._err.exists() else ""

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    @property
    def alive(self) -> bool:
        """Whether it runs still."""
        return self.process.is_alive()


def run_in_child(
    scratch: Path,
    *arguments: object,
    env: Mapping[str, str] | None = None,
    prelude: str = "",
    piped: bool = False,
) -> Outcome:
    """Run a command in a child to its end."""
    return Child(scratch, *arguments, env=env, prelude=prelude, piped=piped).outcome()


class Pipe:
    """A named pipe, read to its end by a thread."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        self._path, self._parts = path, []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with open(self._path, "rb") as file:
            self._parts.append(file.read())

    def __str__(self) -> str:
        return str(self._path)

    def text(self) -> str:
        """All that was written, once the writer has gone."""
        self._thread.join(10)
        return b"".join(self._parts).decode()


def _in_child(arguments: list[str], variables: dict[str, str], out: str, err: str, prelude: str) -> None:
    os.environ.clear()
    os.environ.update(variables)
    for name, descriptor in ((out, 1), (err, 2)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, descriptor)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["fredbench", *arguments]
    exec(prelude, {})
    from fredbench.cli import cli

    cli.main(args=arguments, prog_name="fredbench")


def waiting(seconds: float = 60) -> Iterator[None]:
    """Yield every few milliseconds until `seconds` are over, which is an error."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.002)
    raise AssertionError(f"nothing happened in {seconds} s")


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} if folder.exists() else set()


def refused(tmp_path: Path, *arguments: object, say: str, hint: str = "", env: dict[str, str] | None = None) -> None:
    """The command is refused in two lines that hold `say` and `hint`, and writes nothing into its store."""
    store, before = tmp_path / "runs", files_below(tmp_path)
    outcome = invoke(*arguments, "--store", store, env=env)
    error, mending = outcome.problem()
    assert say in error, error
    assert hint in mending, mending
    assert files_below(tmp_path) == before


def whole_files(folder: Path) -> None:
    """Every file under a final name below `folder` is whole: it parses, or it is empty by design (a lock)."""
    import json
    import tomllib

    import safetensors.torch

    for file in folder.rglob("*"):
        if not file.is_file() or file.name.endswith(".part") or file.name == ".lock":
            continue
        if file.suffix == ".safetensors":
            safetensors.torch.load(file.read_bytes())
        elif file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".toml":
            tomllib.loads(file.read_text())
        else:
            assert file.name == "progress.jsonl", f"unexpected file {file}"
