"""A process that executes packs for another: one of any executor, or a local one."""

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import uuid4

from optrun.errors import OptrunError, OptrunWarning, PluginError, RunFailedError
from optrun.forks import renew_after_fork
from optrun.kernels.threads import share_cores
from optrun.plugin_code import traceback_of
from optrun.plugins import ensure_plugin, plugin_version
from optrun.problems.data.shared import Key, attach
from optrun.store import environment
from optrun.store.fingerprint import machine_changes
from optrun.sweeps.workers.task import Result, Work, forget, with_warnings
from optrun.training.interrupt import SIGNALS
from optrun.training.trainer import Progress

ISOLATED = "PYTHONSAFEPATH", "of optrun"
"""What its environment has while a process is started, unless the user has said the same; any value is a yes."""

PR_SET_PDEATHSIG = 1
"""Linux: have a signal sent to this process when its parent dies."""


class Plugin(NamedTuple):
    """A plugin in the version that a sweep has."""

    target: str
    version: str

    @classmethod
    def of(cls, target: str) -> Self:
        """Return a plugin as this process has it; raises PluginError where its file cannot be read."""
        return cls(target, plugin_version(target, loaded=True))


@dataclass(frozen=True)
class Task:
    """A pack for a worker of which nothing is known but that it can import optrun."""

    number: int
    """Tells attempts apart: an executor that remembers calls, as Dask does, must not answer with an older one."""
    work: Work
    plugins: Sequence[Plugin]
    timeout: float | None
    origin: tuple[str, int]
    """The process that wants the results."""
    sweep: str = ""
    """By which its packs are told to pause."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """The environment of that process, where it is to be told of others."""


_process = uuid4().hex


def origin() -> tuple[str, int]:
    """Return what no other process has, on any machine: one that is forked from this one has another number."""
    return _process, os.getpid()


def execute_anywhere(task: Task, begins: Callable[[], None] | None = None) -> Sequence[Result]:
    """Run a pack in a worker of any executor; it ends its process where that takes longer than the timeout.

    A thread of the process that wants the results must not do so: there, nothing ends the pack. ``begins`` is called
    when its time does.
    """
    is_elsewhere = task.origin != origin()
    if is_elsewhere:
        _leave_isolation()
        load(task.plugins)
    # A process has one timer: of several threads, one at a time may need it.
    with nullcontext() if task.timeout is None or not is_elsewhere else _timer:
        if begins is not None:
            begins()
        results = _in_time(task, task.timeout if is_elsewhere else None)
    if is_elsewhere and (changed := machine_changes(task.machine, machine(task.work.configs[0].backend))):
        what = "; ".join(f"{name} {there}, here {here}" for name, (here, there) in changed.items())
        said = f"a worker has another machine, so that the last bits of its results may differ: {what}"
        results = with_warnings(results, [said])
    return results


@cache
def machine(backend: str = "numpy") -> Mapping[str, Any]:
    """Return the environment of this process, and the device where packs run on one."""
    return environment(backend)


def stop(sweep: str) -> None:
    """Have the packs of a sweep pause that are executed in threads of this process."""
    _stopped.add(sweep)
    forget()


def _in_time(task: Task, timeout: float | None) -> Sequence[Result]:
    def is_stopped() -> bool:
        return task.sweep in _stopped

    if timeout is None:
        return task.work.execute(is_stopped)
    with Path(os.devnull).open("w") as nowhere:
        # It needs no Python to run, so that a loop in C that never lets go of the interpreter is ended as well.
        left = max(timeout - task.work.spent, 1e-3)
        faulthandler.dump_traceback_later(left, exit=True, file=nowhere)
        try:
            return task.work.execute(is_stopped)
        finally:
            faulthandler.cancel_dump_traceback_later()


_stopped: set[str] = set()
"""The sweeps that this process knows to be over."""
_timer = threading.Lock()
renew_after_fork(globals(), "_timer")


def load(plugins: Sequence[Plugin]) -> None:
    """Load the plugins that this process does not have in these versions.

    Raises PluginError where one cannot be loaded, or its file has another version.
    """
    for target, version in plugins:
        if not ensure_plugin(target, version):
            raise PluginError(
                f"plugin {target!r}: a worker finds another file than the sweep began with: it is to be the same "
                "on every machine; where it has been changed, start the sweep again"
            )


class Shared(ctypes.Structure):
    """What a local worker process and its parent tell each other, in memory that both see."""

    _fields_ = (
        ("stop", ctypes.c_bool),  # set by the parent: the pack is to pause at its next step
        ("began", ctypes.c_double),  # when the pack began, on the monotonic clock; 0 where it has not
        ("start", ctypes.c_int64),  # the step at which it went on
        ("step", ctypes.c_int64),
        ("steps", ctypes.c_int64),  # 0 between packs
        ("lanes", ctypes.c_int64),
        ("alive", ctypes.c_int64),
    )


def execute_for_parent(
    packs: Connection,
    results: Connection,
    shared: Any,
    plugins: Sequence[Plugin],
    tables: Mapping[Key, str],
    processes: int,
) -> None:
    """Execute packs that the parent sends, and send it their results, or an error, until it is gone.

    The first message says that this process is ready. ``tables`` of data are those that the parent has published; so
    many ``processes`` share the cores.
    """
    share_cores(processes)
    attach(tables)
    if hasattr(os, "register_at_fork"):
        # A process that a run forks may live longer than this one, whose pipes have to end then.
        os.register_at_fork(after_in_child=packs.close)
        os.register_at_fork(after_in_child=results.close)
    warned: list[str] = []
    unfit = _prepare(warned, plugins)
    with suppress(EOFError, BrokenPipeError):  # the parent is gone
        results.send(None)
        while packs.poll(None):
            shared.began = time.monotonic()
            try:
                work = packs.recv()
                results.send(unfit or _executed(work, shared, warned))
            except MemoryError:  # the parent tries parts of the pack
                os._exit(1)
            except Exception as error:
                results.send(own_error(error))


def _executed(work: Work, shared: Any, warned: list[str]) -> Sequence[Result]:
    def observe(now: Progress, lanes: int) -> None:
        shared.step, shared.steps, shared.lanes, shared.alive = now.step, now.steps, lanes, now.alive

    shared.start = work.start
    shared.began = time.monotonic() - work.spent
    try:
        results = work.execute(lambda: bool(shared.stop), observe)
    finally:
        shared.steps = 0
    if warned:
        results = with_warnings(results, tuple(warned))
        warned.clear()
    return results


def own_error(error: BaseException) -> OptrunError:
    """Return an error of optrun's own for one that a worker raised, which is then no run's own fault."""
    if isinstance(error, OptrunError):
        return error
    said = f"a worker could not run a pack: {type(error).__name__}: {error}"
    return RunFailedError(said, traceback=traceback_of(error))


def _prepare(warned: list[str], plugins: Sequence[Plugin]) -> OptrunError | None:
    """Load the plugins, leave signals to the parent, and end with it; return why this process can execute nothing.

    What optrun warns of is added to ``warned``: the parent says it once for all workers.
    """
    show = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, OptrunWarning):
            warned.append(str(message))
        else:
            show(message, category, *where, **more)

    warnings.showwarning = note
    _leave_isolation()
    for number in SIGNALS:
        # Unlike to ignore them, this is nothing that a process inherits which a run may start.
        signal.signal(number, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        if sys.platform == "linux":
            # The thread below does not get its turn while a loop in C holds the interpreter.
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        threading.Thread(target=_die_with_parent, daemon=True).start()
        load(plugins)
    except PluginError as error:
        return PluginError(f"{error} (in a worker process)")
    except BaseException as error:
        return RunFailedError(f"a worker process could not start: {type(error).__name__}: {error}")
    return None


def _leave_isolation() -> None:
    """Have processes that a run may start find what is beside their script."""
    name, value = ISOLATED
    if os.environ.get(name) == value:
        del os.environ[name]


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
