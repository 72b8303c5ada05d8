"""What executes a pack: here, or in a process of its own."""

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import parent_process
from typing import Any

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.errors import RunFailedError
from optrun.registry import load_plugin
from optrun.store import Checkpoint, RunState, Status
from optrun.training.memory import Memory
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer


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
    reason = ""
    try:
        trainer = Trainer(Pack(configs), memory, interrupted=interrupted, until=until)
        if checkpoints is not None:
            trainer.resume(checkpoints)
        trainer.run()
    except RunFailedError as error:
        reason = str(error)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    if reason and len(configs) > 1:
        half = len(configs) // 2
        results: list[Result] = []
        for part in (slice(half), slice(half, None)):
            own = None if checkpoints is None else checkpoints[part]
            some = execute(configs[part], interrupted, until=until, checkpoints=own)
            if some is None:
                return None
            results += some
        return results
    states = [memory.state(lane) for lane in range(len(configs))]
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


_stop: Any = None


def begin(stop: Any, ready: Any, plugins: Sequence[str]) -> None:
    """Prepare a worker process, which does not outlive its parent.

    It shares two bytes with it: ``stop`` interrupts what it runs, and it sets ``ready`` once it has started.
    """
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    for plugin in plugins:
        load_plugin(plugin)
    ready.value = 1


def execute_here(
    configs: Sequence[RunConfig],
    until: int | None = None,
    checkpoints: Sequence[Checkpoint] | None = None,
) -> list[Result] | None:
    """Run a pack in a worker process."""
    return execute(configs, lambda: bool(_stop.value), until=until, checkpoints=checkpoints)


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
