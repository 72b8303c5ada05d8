"""What executes a pack: here, or in a process of its own."""

import ctypes
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import parent_process
from pathlib import Path
from platform import node
from typing import Any

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.errors import RunFailedError
from optrun.registry import load_plugin
from optrun.store import Checkpoint, RunState, Status
from optrun.training.memory import Memory
from optrun.training.pack import Pack
from optrun.training.trainer import Progress, Trainer

Observer = Callable[[Progress, int], None]
"""Is told how far a pack is, and how many lanes it has."""


@dataclass(frozen=True)
class Result:
    """What a run leaves: all that a store commits at its end, or what has come since its last pause.

    The state of a paused run is running, and its summary has the figures of where it is.
    """

    state: RunState
    curves: Mapping[str, Array]
    evaluations: Mapping[str, Array]
    params: Mapping[str, Array]
    checkpoint: Checkpoint | None = None
    """From which a paused run goes on, in any pack."""


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
    memory = Memory(configs)
    lanes = len(configs)
    reason = ""
    look = None if observe is None else lambda now: observe(now, lanes)
    try:
        trainer = Trainer(Pack(configs), memory, observe=look, interrupted=interrupted, until=until)
        if checkpoints is not None:
            trainer.resume(checkpoints)
        trainer.run()
    except RunFailedError as error:
        reason = str(error)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    if reason and lanes > 1:
        half = lanes // 2
        results: list[Result] = []
        for part in (slice(half), slice(half, None)):
            own = None if checkpoints is None else checkpoints[part]
            some = execute(configs[part], interrupted, observe, until=until, checkpoints=own)
            if some is None:
                return None
            results += some
        return results
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

    def execute(
        self, interrupted: Callable[[], bool], observe: Observer | None = None
    ) -> list[Result] | None:
        """Run the pack as `execute` does."""
        return execute(self.configs, interrupted, observe, until=self.until, checkpoints=self.checkpoints)


@dataclass(frozen=True)
class Task:
    """A pack for a worker of which nothing is known but that it can import optrun."""

    number: int
    """Tells attempts apart: an executor that remembers calls, as Dask does, must not answer with an older one."""
    work: Work
    plugins: Sequence[str]
    timeout: float | None
    origin: tuple[str, int]
    """The machine and the process that want the results."""


def origin() -> tuple[str, int]:
    """Return this machine and this process."""
    return node(), os.getpid()


def execute_anywhere(task: Task) -> list[Result] | None:
    """Run a pack in a worker of any executor; it ends its process where that takes longer than the timeout.

    A thread of the process that wants the results must not do so: there, nothing ends the pack.
    """
    is_elsewhere = task.origin != origin()
    if is_elsewhere:
        for plugin in task.plugins:
            _load_once(plugin)
    if task.timeout is None or not is_elsewhere:
        return task.work.execute(_never)
    with Path(os.devnull).open("w") as nowhere:
        # It needs no Python to run, so that a loop in C that never lets go of the interpreter is ended as well.
        faulthandler.dump_traceback_later(task.timeout, exit=True, file=nowhere)
        try:
            return task.work.execute(_never)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _never() -> bool:
    return False


_load_once = cache(load_plugin)


class Desk(ctypes.Structure):
    """What a local worker tells its parent, in memory that both see."""

    _fields_ = (
        ("pid", ctypes.c_int64),  # 0 before it has started
        ("began", ctypes.c_double),  # when it began its pack, on the monotonic clock; 0 between packs
        ("step", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("lanes", ctypes.c_int64),
        ("alive", ctypes.c_int64),
        ("ready", ctypes.c_int64),  # 1 once its plugins are loaded
    )


_stop: Any = None
_desk: Any = None


def begin(stop: Any, any_ready: Any, desk: Any, plugins: Sequence[str]) -> None:
    """Prepare a local worker process, which does not outlive its parent.

    It leaves its pack where ``stop`` is set, and sets ``any_ready``, which all workers share, when it has started.
    """
    global _stop, _desk
    _stop, _desk = stop, desk
    _desk.pid = os.getpid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    for plugin in plugins:
        load_plugin(plugin)
    _desk.ready = any_ready.value = 1


def execute_here(work: Work) -> list[Result] | None:
    """Run a pack in a local worker process."""
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
