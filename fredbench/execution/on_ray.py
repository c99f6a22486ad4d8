"""Tasks on a Ray cluster (the extra `fredbench[ray]`): a task gets its name, and leaves files in the shared store.

Nothing but names and settings travels. A process a task, with the threads of the plan; a request that no node can meet
is refused before anything starts, since Ray would wait for ever without a word.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import fredbench
from fredbench.execution.making import TASKS, Report
from fredbench.execution.plan import Task
from fredbench.execution.processes import thread_variables
from fredbench.execution.request import GridRequest
from fredbench.foundation.environment import instruction_sets, library_versions
from fredbench.foundation.errors import FredbenchError, ResourceError, StorageError, UsageError
from fredbench.foundation.locks import tried
from fredbench.foundation.progress import say
from fredbench.suites.grids import Resources

__all__ = ["OnRay", "fitting", "unmet"]

_CLOSE_SECONDS = 5.0
_SMALL_TASKS = 20
_GB = 10**9
_NAMES = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
_ANSWER_SECONDS = 5.0
_LOOK_SECONDS = 10.0
_TOLD_EVERY_SECONDS = 60.0


def _make(request: Mapping[str, Any], name: str, seen: Mapping[str, str]) -> dict[str, Any]:
    """In a worker of Ray: make the task `name`; what ends it comes back as data, since some errors do not unpickle."""
    # Ray changes the variables that say how many threads there are, and a process that has computed keeps its number.
    torch.set_num_threads(request["threads"])
    from fredbench.execution.worker import workshop

    try:
        _check_place(seen)
        return workshop(json.dumps(request)).make(name).to_mapping()
    except FredbenchError as problem:
        return Report(name, "failed", problem).to_mapping()


def _check_place(seen: Mapping[str, str]) -> None:
    """Raise where this machine does not see the driver's store, or computes with other versions."""
    try:
        found = Path(seen["file"]).read_text()
    except OSError:
        found = ""
    if found != seen["text"]:
        raise StorageError(
            f"{os.uname().nodename} does not see the store at {Path(seen['file']).parent}",
            hint="put --store on a disk that all machines of the cluster share, under one path",
        )
    if (here := _versions()) != seen["versions"]:
        raise UsageError(
            f"{os.uname().nodename} has {here}, the command {seen['versions']}",
            hint="give all machines of the cluster the same environment",
        )
    if (here := _processor()) != seen["processor"]:
        _say_once(
            f"{os.uname().nodename} computes with {here}, the command's machine with {seen['processor']}: what is made "
            "on one may differ in its last bits from what is made on the other"
        )


@functools.lru_cache(maxsize=1)
def _say_once(message: str) -> None:
    say(message)


def _processor() -> str:
    return f"the instructions {instruction_sets().get('torch', 'unknown')}"


def _versions() -> str:
    return ", ".join(f"{name} {version}" for name, version in library_versions(("torch", "numpy")).items())


def _ray() -> Any:
    # Read when Ray is loaded. A cluster that does not answer is asked twenty times else, which takes 14 minutes.
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise UsageError("Ray is not installed", hint="pip install 'fredbench[ray]'") from error


class OnRay:
    """An executor on the cluster at `address`, or on one of this machine that ends with this process."""

    def __init__(self, request: GridRequest, resources: Resources, *, address: str | None, workers: int | None) -> None:
        self._ray, self._request = _ray(), request
        threads = request.threads or 1
        gpus = resources.num_gpus or float(request.device == "cuda")
        self._asked = {"num_cpus": threads, "num_gpus": gpus, "memory": int((resources.memory or 0) * _GB)}
        self._wanted = {_NAMES[key]: float(value) for key, value in self._asked.items() if value}
        self._begun: dict[Any, str] = {}
        self._most, self._looked, self._told = workers or 10**6, time.monotonic(), -_TOLD_EVERY_SECONDS
        if _own(address):  # a cluster need not be started to be asked for what this machine lacks
            _check_fits([_this_machine()], {key: value for key, value in self._wanted.items() if key != "memory"})
        self._opened = contextlib.ExitStack()
        try:
            # Ray forwards what workers print, and says itself who died, on stdout, where only data belong.
            self._opened.enter_context(contextlib.redirect_stdout(sys.stderr))
            self._opened.callback(self._ray.shutdown)
            _connect(self._ray, address)
            self.slots = min(_check_fits(self._nodes(), self._wanted), self._most)
            self._large = self._ray.remote(**self._options(threads, most=1))(_make)
            self._small = self._ray.remote(**self._options(threads, most=_SMALL_TASKS))(_make)
            self._show_store()
        except BaseException:
            self._opened.close()
            raise

    def _nodes(self) -> list[Mapping[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _look(self) -> None:
        """Nodes come and go: give out as many tasks as fit by now, and say so where none does any more."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        nodes = self._nodes()
        fit = fitting(nodes, self._wanted)
        self.slots = max(1, min(fit, self._most))
        if not fit and time.monotonic() - self._told >= _TOLD_EVERY_SECONDS:
            say(f"{unmet(nodes, self._wanted).message}; waiting for one that has it")
            self._told = time.monotonic()

    def _options(self, threads: int, *, most: int) -> dict[str, Any]:
        fredbench_variables = {name: value for name, value in os.environ.items() if name.startswith("FREDBENCH_")}
        # The package may be a checkout that only this process's path knows of.
        root = str(Path(fredbench.__file__).resolve().parent.parent)
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        variables = {**thread_variables(threads), **fredbench_variables, "PYTHONPATH": paths}
        return {
            **{key: value for key, value in self._asked.items() if value},
            # A process that is kept has the memory of its largest task (see `allocator`): what is large gets one of
            # its own, and what is a matter of moments need not wait for an interpreter and torch.
            "max_calls": most,
            # Deaths are counted in one place for all executors, which gives a task up after a few.
            "max_retries": 0,
            "runtime_env": {"env_vars": variables},
        }

    def _show_store(self) -> None:
        """Hold a lock of our own in the store, whose text no other has: it goes where this process is killed."""
        folder = Path(self._request.store) / TASKS
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f".ray-{secrets.token_hex(4)}.lock"
        self._opened.enter_context(tried(file, "making a grid on Ray"))
        text = file.read_text()
        self._seen = {"file": str(file), "text": text, "versions": _versions(), "processor": _processor()}

    def submit(self, task: Task) -> None:
        """Queue it."""
        remote = self._large if task.kind in {"expert", "run"} else self._small
        reference = remote.options(name=task.label).remote(self._request.to_mapping(), task.name, self._seen)
        self._begun[reference] = task.name

    def wait(self, seconds: float) -> Sequence[Report]:
        """What ended, within `seconds`."""
        self._look()
        ended, _ = self._ray.wait(list(self._begun), num_returns=1, timeout=seconds)
        return [self._report(each) for each in ended]

    def _report(self, reference: Any) -> Report:
        name, errors = self._begun.pop(reference), self._ray.exceptions
        try:
            return Report.from_mapping(self._ray.get(reference))
        except errors.OutOfMemoryError as error:
            first = next(iter(str(error).splitlines()), "")
            hint = "give the node more memory, or ask for it: `memory` in the suite's [resources]"
            return Report(name, "failed", ResourceError(f"Ray ended it for want of memory: {first}", hint=hint))
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.ObjectLostError, errors.RaySystemError):
            return Report(name, "died")
        except errors.RayTaskError as error:
            last = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
            return Report(name, "failed", ResourceError(f"a fault of the program: {last.strip()}", hint="see above"))
        except errors.RayError as error:
            first = next(iter(str(error).splitlines()), "")
            return Report(name, "failed", ResourceError(f"Ray: {first}", hint="see the logs of the cluster"))

    def close(self) -> None:
        """Interrupt what runs, leave it some seconds to let go of what it holds, and leave the cluster."""
        for reference in self._begun:
            self._ray.cancel(reference)
        if self._begun:
            self._ray.wait(list(self._begun), num_returns=len(self._begun), timeout=_CLOSE_SECONDS)
        self._opened.close()


def fitting(nodes: Sequence[Mapping[str, float]], wanted: Mapping[str, float]) -> int:
    """How many tasks that take `wanted` fit on `nodes` (both by Ray's names of resources), were these idle."""
    return sum(int(min(node.get(name, 0.0) // value for name, value in wanted.items())) for node in nodes)


def unmet(nodes: Sequence[Mapping[str, float]], wanted: Mapping[str, float]) -> ResourceError:
    """What is said where no node can take a task: Ray would wait for ever without a word."""
    most = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in wanted}
    told = ", ".join(f"{_shown(name, value)} (of {_shown(name, most[name])})" for name, value in wanted.items())
    return ResourceError(
        f"no node of the cluster ever has what one task asks for: {told}",
        hint="ask for less in the suite's [resources] or by --threads, or bring a node that has it",
    )


def _check_fits(nodes: Sequence[Mapping[str, float]], wanted: Mapping[str, float]) -> int:
    if fit := fitting(nodes, wanted):
        return fit
    raise unmet(nodes, wanted)


def _this_machine() -> dict[str, float]:
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}


def _shown(name: str, value: float) -> str:
    return f"{value / _GB:.1f} GB of memory" if name == "memory" else f"{value:g} {name}"


def _own(address: str | None) -> bool:
    """Whether a cluster of this machine is to be started, and ended with this process."""
    return address is None or address == "local"


def _connect(ray: Any, address: str | None) -> None:
    """Join the cluster at `address`; without one, start one of this machine, never one that happens to be there."""
    # Else Ray packs the current folder, and tasks work in copies of it.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not sys.stderr.isatty():
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    own = _own(address)
    if not own and "RAY_AUTH_MODE" not in os.environ and (Path.home() / ".ray" / "auth_token").is_file():
        # A cluster that was started under this home demands the token, which an address by itself does not bring.
        os.environ["RAY_AUTH_MODE"] = "token"
    before = signal.getsignal(signal.SIGTERM)
    try:
        _check_answers(ray, address)
        ray.init(
            address="local" if own else address,
            log_to_driver=True,
            **({"include_dashboard": False} if own else {}),
        )
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        raise UsageError(
            f"cannot join the Ray cluster at {address or 'this machine'}: {first}",
            hint="start one with `ray start --head`, see docs/clusters.md; RAY_AUTH_MODE says whether it has a token",
        ) from error
    if before is not None and threading.current_thread() is threading.main_thread():
        # Ray puts an exit with code 1 and pages of its own in place of what this signal does to every other command.
        signal.signal(signal.SIGTERM, before)


def _check_answers(ray: Any, address: str | None) -> None:
    """Raise `OSError` where nothing listens at host:port: Ray would ask for minutes."""
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        return
    socket.create_connection((_outer(ray, host.strip("[]")), int(port)), timeout=_ANSWER_SECONDS).close()


def _outer(ray: Any, host: str) -> str:
    """The host as Ray understands it, which takes this machine's outer address for its inner one."""
    inner = host in {"localhost", "127.0.0.1", "::1"}
    return str(ray.util.get_node_ip_address()) if inner else host
