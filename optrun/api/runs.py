"""The Python API: run a config, resume a run, read a run."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from optrun.arrays import Array
from optrun.config import RunConfig, from_mapping, load
from optrun.config.edited import as_in_file
from optrun.errors import ConfigError, RunFailedError, StoreError, counted, texts
from optrun.registry import load_plugins
from optrun.store import RunRecord, RunState, Status, Store, write_csv
from optrun.store.event_names import INFERRED, LEFT, PLUGINS, TRACEBACK
from optrun.store.locate import CONFIG, RUNS, find_numbered, find_whole
from optrun.training.evaluator import AVERAGE
from optrun.training.identity import Identity, known, note_machine, on_data
from optrun.training.interrupt import Interruption, interruptible
from optrun.training.longer import prolong, settle_config
from optrun.training.made import checked
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.remarks import inferred
from optrun.training.trainer import Progress, Trainer

_AVERAGE = f"{AVERAGE}/"


class Results(Protocol):
    """What a run is read from: a store, or memory."""

    def run(self, run: int) -> RunRecord:
        """Return a run's config, seed and state."""
        ...

    def curves(self, run: int) -> dict[str, Array]:
        """Return a run's curves."""
        ...

    def evaluations(self, run: int) -> dict[str, Array]:
        """Return a run's evaluations."""
        ...

    def params(self, run: int) -> dict[str, Array]:
        """Return a run's final parameters."""
        ...


class Run:
    """A finished or interrupted run: its curves, evaluations, final parameters, their average, and summary."""

    def __init__(
        self, results: Results, *, path: Path | None = None, run: int = 0, signal: int | None = None
    ) -> None:
        record = results.run(run)
        self.path = path
        """Its directory, where it is saved."""
        self.signal = signal
        """The signal that interrupted it."""
        self.config: Mapping[str, Any] = record.config
        """The complete config, as plain values."""
        self.status: Status = record.status
        """Why it ended."""
        self.reason = record.reason
        self.steps = record.steps
        """Updates made."""
        self.summary: Mapping[str, float | None] = record.summary
        """`final_loss` and every final evaluation; None where it is not finite."""
        self.curves: Mapping[str, Array] = results.curves(run)
        """`step`, `loss`, `lr` and other metrics, one entry per recorded step."""
        self.evaluations: Mapping[str, Array] = results.evaluations(run)
        """`step` and every evaluation, at steps of their own."""
        params = results.params(run)
        self.params: Mapping[str, Array] = {
            name: value for name, value in params.items() if not name.startswith(_AVERAGE)
        }
        """The final parameters, by name; none before the run has ended."""
        self.average: Mapping[str, Array] = {
            name.removeprefix(_AVERAGE): value for name, value in params.items() if name.startswith(_AVERAGE)
        }
        """The average of the parameters at the end, by name; none where none was kept."""

    def __repr__(self) -> str:
        place = f" {self.path}" if self.path else ""
        return f"<Run{place} {self.status}: {counted(self.steps, 'step')}, final_loss={self.summary.get('final_loss')}>"


def run(
    config: RunConfig | Mapping[str, Any] | str | Path,
    *,
    overrides: Sequence[str] = (),
    save: bool = True,
    directory: str | Path | None = None,
    plugins: Sequence[str] = (),
    observe: Callable[[Progress], None] | None = None,
    pack: Pack | None = None,
) -> Run:
    """Run a config, a mapping or a YAML file, and return its results.

    They are stored under `runs/`, or in ``directory``, unless ``save`` is false. Each of
    ``plugins``, files or modules that register problems, optimizers, …, is loaded first. ``observe`` is called a few
    times a second. The first Ctrl-C or SIGTERM leaves an interrupted run, with which `resume` goes on, and so
    do SIGHUP and SIGUSR1, by which a terminal or a cluster says that it is gone soon. ``pack`` is that of the
    config, where it has been built before.

    Raises ConfigError, StoreError, MissingExtraError, PluginError, or RunFailedError where the problem, the optimizer
    or the scheduler raises.
    """
    load_plugins(plugins)
    if not save and directory is not None:
        raise ConfigError("a run that is not saved has no directory", field="directory")
    chosen = _config(config, overrides)
    pack = pack or Pack([chosen])
    with interruptible() as interruption:
        if not save:
            memory = MemoryStore([chosen])
            return _trained(
                memory, Trainer(pack, memory, observe=observe, interrupted=interruption), interruption
            )
        with Store.create(
            RUNS,
            chosen.name,
            directory=Path(directory) if directory is not None else None,
            config_yaml=chosen.to_yaml(),
            runs=[(chosen.to_dict(), chosen.seed)],
            events=({PLUGINS: {"plugins": [*plugins]}} if plugins else {})
            | Identity.of(chosen, pack.problem.fingerprint).events(),
        ) as store:
            store.log(INFERRED, lines=inferred(pack))
            return _trained(
                store, Trainer(pack, store, observe=observe, interrupted=interruption), interruption
            )


def resume(
    path: str | Path,
    *,
    plugins: Sequence[str] = (),
    steps: int | None = None,
    epochs: int | None = None,
    accept_changes: bool = False,
    observe: Callable[[Progress], None] | None = None,
    note: Callable[[Pack], None] | None = None,
) -> Run:
    """Go on with an interrupted or killed run from its last checkpoint, or from its start if it has none.

    ``path`` is what the command takes, and ``plugins`` are loaded first. A run that has ended is returned as it is;
    one that has completed goes on, where ``steps`` or ``epochs`` are more than it has, as if it had had them from its
    start. ``note`` is called with the pack that goes on, before it does. Raises StoreError or StateError where it is
    being written by another process or damaged, or a sweep, with which `sweep` goes on; ChangedError where its data
    or code have changed since it began, unless ``accept_changes`` is true; and ConfigError where its config.yaml has
    been edited, or where it cannot have so many steps.
    """
    if steps is not None and epochs is not None:
        raise ConfigError("steps and epochs are both given: choose one", field="epochs")
    load_plugins(plugins)
    with interruptible() as interruption, Store.open(find_whole(path, "resume"), write=True) as store:
        _check_single(store)
        settle_config(store)
        record = store.run(0)
        if not record.status.final or steps is not None or epochs is not None:
            pack = Pack([as_in_file(store.path / CONFIG, from_mapping(record.config))])
            identity = Identity.of(pack.configs[0], pack.problem.fingerprint)
            _, events = checked(store, identity, "run", "run it anew", accept=accept_changes)
            if steps is not None or epochs is not None:
                pack = prolong(store, pack, steps=steps, epochs=epochs)
                settle_config(store)
                record = store.run(0)
        if record.status.final:
            write_csv(store)  # a kill may have come before it was written
            return Run(store, path=store.path)
        if note is not None:
            note(pack)
        trainer = Trainer(pack, store, observe=observe, interrupted=interruption)
        checkpoint = store.checkpoint()
        if checkpoint is not None:
            is_compared = accept_changes or bool(known(store).data)
            trainer.resume([on_data(checkpoint, pack.problem.fingerprint if is_compared else None)])
        events |= note_machine(store)
        store.commit(states={0: RunState(status=Status.RUNNING, steps=record.steps)}, events=events)
        return _trained(store, trainer, interruption)


def load_run(path: str | Path, run: int | None = None) -> Run:
    """Read a run, also while it is going on.

    ``path`` is what commands take: a directory, an id below `runs/` or the beginning of one, or "latest"; of a sweep
    it is the ``run`` of this number, or that of "SWEEP:RUN". Raises StoreError where it is damaged, or a sweep whose
    run is not named.
    """
    from optrun.analysis.leaderboard import single  # and the sweeps below it, which a run does not need

    directory, number = find_numbered(path)
    if run is not None and number not in (None, run):
        raise StoreError(f"{path}: this names run {number}, and not run {run}")
    with Store.open(directory) as store:
        return Run(store, path=store.path, run=single(store, number if run is None else run))


def _check_single(store: Store) -> None:
    """Raise StoreError where a store is that of a sweep, if only of one run."""
    from optrun.analysis.leaderboard import plan_of

    if plan_of(store) is not None:
        raise StoreError(f"{store.path}: a sweep, which optrun.sweep or the command resume goes on with")
    if store.size > 1:  # an older optrun wrote the plan after the directory
        again = f"optrun sweep {store.path / CONFIG} -o {store.path}"
        raise StoreError(
            f"{store.path}: {counted(store.size, 'run')}, and no plan of a sweep; to go on: {again}"
        )


def _config(config: RunConfig | Mapping[str, Any] | str | Path, overrides: Sequence[str]) -> RunConfig:
    texts("overrides", overrides)
    if isinstance(config, RunConfig):
        return from_mapping(config.to_dict(), overrides) if overrides else config
    if isinstance(config, Mapping):
        return from_mapping(config, overrides)
    if not isinstance(config, (str, os.PathLike)):
        got = type(config).__name__
        raise ConfigError(f"a run takes a RunConfig, a mapping or the path of a YAML file, not {got}")
    return load(config, overrides)


def _trained(results: Store | MemoryStore, trainer: Trainer, interruption: Interruption) -> Run:
    began = time.monotonic()
    try:
        trainer.run()
    except StoreError as error:
        raise RunFailedError(str(error)) from error
    except RunFailedError as error:
        if isinstance(results, Store):
            results.log(TRACEBACK, 0, text=error.traceback)
        _left(results, began)
        raise
    return Run(results, path=_left(results, began), signal=interruption.signal)


def _left(results: Store | MemoryStore, began: float) -> Path | None:
    """Write what a run leaves behind beside its results, and return its directory."""
    if isinstance(results, MemoryStore):
        return None
    results.log(LEFT, seconds=time.monotonic() - began)
    write_csv(results)
    return results.path
