"""What executes a pack: here, or in a process of its own."""

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import uuid4

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.errors import OptrunError, PluginError, RunFailedError
from optrun.registry import load_plugin, plugin_version
from optrun.store import Checkpoint, RunRows, RunState, Status
from optrun.training.memory import Memory
from optrun.training.pack import Pack
from optrun.training.trainer import Progress, Trainer

PR_SET_PDEATHSIG = 1
"""Linux: have a signal sent to this process when its parent dies."""

Observer = Callable[[Progress, int], None]
"""Is told how far a pack is, and how many lanes it has."""


@dataclass(frozen=True)
class Result:
    """What a run leaves: all that a store commits at its end, or what has come since its last pause.

    The state of a paused run is running, and its summary has the figures of where it is.
    """

    state: RunState
    curves: Mapping[str, Array] = field(default_factory=dict)
    evaluations: Mapping[str, Array] = field(default_factory=dict)
    params: Mapping[str, Array] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    """From which a paused run goes on, in any pack."""
    rows: RunRows | None = None
    """Of a store, in place of the arrays."""

    def as_rows(self, run: int) -> RunRows:
        """Return what the run of this number has left as rows of a store."""
        return RunRows.of(run, self.curves, self.evaluations, self.params)


def execute(
    configs: Sequence[RunConfig],
    interrupted: Callable[[], bool],
    observe: Observer | None = None,
    *,
    until: int | None = None,
    checkpoints: Sequence[Checkpoint] | None = None,
) -> list[Result] | None:
    """Run a pack and return the results of its lanes; None where it was interrupted.

    It begins at ``checkpoints``, one of each lane and all of one step, and lanes that have not ended before the
    step ``until`` are paused there. A pack that raises, for want of memory too, is run again in two halves, so that
    the run to blame fails alone.
    """
    results: list[Result] = []
    left = [range(len(configs))]
    while left:
        lanes = left.pop()
        part = slice(lanes.start, lanes.stop)
        own = None if checkpoints is None else checkpoints[part]
        some = _attempted(configs[part], interrupted, observe, until, own)
        if some is None:
            return None
        if some:
            results += some
        else:
            half = len(lanes) // 2
            left += [lanes[half:], lanes[:half]]
    return results


def _attempted(
    configs: Sequence[RunConfig],
    interrupted: Callable[[], bool],
    observe: Observer | None,
    until: int | None,
    checkpoints: Sequence[Checkpoint] | None,
) -> list[Result] | None:
    """Run a pack and return the results of its lanes: none where several lanes raised, None where it was interrupted.

    What the pack held is free when this has returned, so that a smaller one has room.
    """
    memory = Memory(configs)
    reason = _ended(configs, memory, interrupted, observe, until, checkpoints)
    lanes = len(configs)
    if reason and lanes > 1:
        return []
    states = [memory.state(lane) for lane in range(lanes)]
    if reason and not states[0].status.final:
        states = [failed(reason)]
    if any(state.status is Status.INTERRUPTED for state in states):
        return None
    return [
        Result(
            state,
            memory.curves(lane),
            memory.evaluations(lane),
            # A view would keep those of all lanes.
            {name: values.copy() for name, values in memory.params(lane).items()},
            memory.checkpoint(lane),
        )
        for lane, state in enumerate(states)
    ]


def _ended(
    configs: Sequence[RunConfig],
    memory: Memory,
    interrupted: Callable[[], bool],
    observe: Observer | None,
    until: int | None,
    checkpoints: Sequence[Checkpoint] | None,
) -> str:
    """Run a pack and return why it raised, if it did; of the exception, whose frames hold the pack, nothing is kept."""
    onlooker: list[Exception] = []

    def look(now: Progress) -> None:
        try:
            if observe is not None:
                observe(now, len(configs))
        except Exception as error:
            onlooker.append(error)
            raise

    try:
        seen = None if observe is None else look
        trainer = Trainer(Pack(configs), memory, observe=seen, interrupted=interrupted, until=until)
        if checkpoints is not None:
            trainer.resume(checkpoints)
        trainer.run()
    except RunFailedError as error:
        return str(error)
    except Exception as error:
        if error in onlooker:  # whoever looks on is not to blame a run for it
            raise
        return f"{type(error).__name__}: {error}"
    return ""


def failed(reason: str) -> RunState:
    """Return the state of a run that could not be run."""
    return RunState(status=Status.FAILED, reason=reason)


@dataclass(frozen=True)
class Work:
    """A pack that is to be executed: of each lane its config, and where it goes on from."""

    configs: Sequence[RunConfig]
    until: int | None = None
    """The step before which the lanes pause."""
    checkpoints: Sequence[Checkpoint] | None = None
    runs: Sequence[int] | None = None
    """The numbers of the runs, where their results are to be rows of a store: they begin and end here."""

    def execute(
        self, interrupted: Callable[[], bool], observe: Observer | None = None
    ) -> list[Result] | None:
        """Run the pack as `execute` does."""
        results = execute(self.configs, interrupted, observe, until=self.until, checkpoints=self.checkpoints)
        if results is None or self.runs is None:
            return results
        pairs = zip(self.runs, results, strict=True)
        return [Result(result.state, rows=result.as_rows(run)) for run, result in pairs]


class Plugin(NamedTuple):
    """A plugin in the version that a sweep has."""

    target: str
    version: str

    @classmethod
    def of(cls, target: str) -> Self:
        """Return a plugin as it is now; raises PluginError where its file cannot be read."""
        return cls(target, plugin_version(target))


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


_process = uuid4().hex


def origin() -> tuple[str, int]:
    """Return what no other process has, on any machine: one that is forked from this one has another number."""
    return _process, os.getpid()


def execute_anywhere(task: Task, begins: Callable[[], None] | None = None) -> list[Result] | None:
    """Run a pack in a worker of any executor; it ends its process where that takes longer than the timeout.

    A thread of the process that wants the results must not do so: there, nothing ends the pack. ``begins`` is called
    when its time does.
    """
    is_elsewhere = task.origin != origin()
    if is_elsewhere:
        load(task.plugins)
    # A process has one timer: of several threads, one at a time may need it.
    with nullcontext() if task.timeout is None or not is_elsewhere else _timer:
        if begins is not None:
            begins()
        return _in_time(task.work, task.timeout if is_elsewhere else None)


def _in_time(work: Work, timeout: float | None) -> list[Result] | None:
    if timeout is None:
        return work.execute(_never)
    with Path(os.devnull).open("w") as nowhere:
        # It needs no Python to run, so that a loop in C that never lets go of the interpreter is ended as well.
        faulthandler.dump_traceback_later(timeout, exit=True, file=nowhere)
        try:
            return work.execute(_never)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _never() -> bool:
    return False


_timer = threading.Lock()
_loading = threading.Lock()
_versions: dict[str, str] = {}
"""Of the plugins that this process has loaded."""


def load(plugins: Sequence[Plugin]) -> None:
    """Load the plugins that this process does not have in these versions.

    Raises PluginError where one cannot be loaded, or its file has another version.
    """
    with _loading:
        for target, version in plugins:
            if _versions.get(target) == version:
                continue
            if plugin_version(target) != version:
                raise PluginError(
                    f"plugin {target!r}: a worker finds another file than the sweep began with: it is to be the same "
                    "on every machine; where it has been changed, start the sweep again"
                )
            load_plugin(target)
            _versions[target] = version


class Desk(ctypes.Structure):
    """What a local worker tells its parent, in memory that both see."""

    _fields_ = (
        ("began", ctypes.c_double),  # when it began its pack, on the monotonic clock; 0 between packs
        ("begun", ctypes.c_int64),  # how many packs it has begun
        ("step", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("lanes", ctypes.c_int64),
        ("alive", ctypes.c_int64),
        ("ready", ctypes.c_int64),  # 1 once its plugins are loaded
    )


_stop: Any = None
_desk: Any = None
_unfit: OptrunError | None = None
"""Why this process can execute nothing."""


def begin(stop: Any, any_ready: Any, desk: Any, plugins: Sequence[Plugin]) -> None:
    """Prepare a local worker process, which does not outlive its parent.

    It leaves its pack where ``stop`` is set, and sets ``any_ready``, which all workers share, when it has started.
    """
    global _stop, _desk, _unfit
    _stop, _desk = stop, desk
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if sys.platform == "linux":
            # The thread below does not get its turn while a loop in C holds the interpreter.
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        threading.Thread(target=_die_with_parent, daemon=True).start()
        load(plugins)
    # A pool would say no more than that it broke, and leave the traceback on the screen: the first pack tells instead.
    except PluginError as error:
        _unfit = PluginError(f"{error} (in a worker process)")
    except BaseException as error:
        _unfit = RunFailedError(f"a worker process could not start: {type(error).__name__}: {error}")
    _desk.ready = any_ready.value = 1


def execute_here(work: Work) -> list[Result] | None:
    """Run a pack in a local worker process."""
    if _unfit is not None:
        raise _unfit
    _desk.begun += 1
    _desk.began = time.monotonic()
    try:
        return work.execute(lambda: bool(_stop.value), _note)
    finally:
        _desk.steps = 0
        _desk.began = 0.0


def _note(now: Progress, lanes: int) -> None:
    _desk.step, _desk.steps, _desk.lanes, _desk.alive = now.step, now.steps, lanes, now.alive


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
