"""The Python API: run a config, resume a run, read a run."""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Unpack

import numpy as np

from optrun.api.given_data import given
from optrun.api.html import html_table
from optrun.api.predicting import predicted, predictor_of, probabilities, samples_of, warn_of_unknown
from optrun.api.stored_configs import resolve_any
from optrun.arrays import Array
from optrun.config import RunConfig, from_mapping
from optrun.config.edited import as_in_file
from optrun.config.goal import Goal, GoalOf, usual_goal
from optrun.config.model.run import Stop
from optrun.errors import ConfigError, RunFailedError, StoreError, counted, string_list
from optrun.plugins import load_plugins
from optrun.problems.data import Decimal
from optrun.store import RunRecord, RunState, Status, Store, write_csv
from optrun.store.event_names import BASELINES, INFERRED, LEFT, PLUGINS, TRACEBACK
from optrun.store.locate import CONFIG, RUNS, find_whole
from optrun.store.run_table import What, check_what, run_table
from optrun.training.baselines import Baselines, baselines_of, stored_baselines
from optrun.training.config_notes import inferred
from optrun.training.curve_figures import expected_figures
from optrun.training.evaluator import AVERAGE
from optrun.training.figures import pack_of
from optrun.training.identity import Identity, identity_of_store, note_machine_change, with_fingerprint
from optrun.training.interrupt import Interruption, interruptible
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.predictor import Evaluation, Predictor
from optrun.training.prepared import keep_prepared, prepared
from optrun.training.prolong import prolong, update_config_file
from optrun.training.provenance import check_identity
from optrun.training.trainer import Progress, Trainer

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from optrun.plots.look import LookOptions

_AVERAGE = f"{AVERAGE}/"


class Results(Protocol):
    """The source of a run's results: a store, or memory."""

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

    def snapshot_steps(self, run: int) -> list[int]:
        """Return the steps whose parameters a run has kept."""
        ...

    def snapshot(self, run: int, step: int) -> dict[str, Array]:
        """Return the parameters that a run has kept at a step."""
        ...


class Run:
    """A finished or interrupted run: its curves, evaluations, final parameters, their average, and summary."""

    def __init__(
        self,
        results: Results,
        *,
        path: Path | None = None,
        run: int = 0,
        signal: int | None = None,
        setting: Mapping[str, Any] | None = None,
        baselines: Baselines | None = None,
        goals: GoalOf | None = None,
    ) -> None:
        self.record = record = results.run(run)
        """The run as it is stored."""
        self.memory = results if isinstance(results, MemoryStore) else None
        self.path = path
        """The run directory; None if the run is not saved."""
        self.signal = signal
        """The number of the signal that interrupted the run, or None."""
        self.setting: Mapping[str, Any] = setting or {}
        """The values of the swept parameters; empty for a run that is of no sweep."""
        self.config: Mapping[str, Any] = record.config
        """The complete config, as plain values."""
        self.status: Status = record.status
        """How the run ended."""
        self.reason = record.reason
        self.steps = record.steps
        """The number of optimizer steps."""
        self.summary: Mapping[str, float | None] = record.summary
        """`final_loss` and every final evaluation; None for a value that is not finite."""
        self.baselines: Baselines = baselines or {}
        """Figures of what predicts without training on the same data, by its name, such as `class prior`."""
        self.curves: Mapping[str, Array] = results.curves(run)
        """`step`, `loss`, `lr` and other metrics, one entry per recorded step."""
        self.evaluations: Mapping[str, Array] = results.evaluations(run)
        """`step` and every evaluation, one entry per evaluated step."""
        params = results.params(run)
        self.params: Mapping[str, Array] = {
            name: value for name, value in params.items() if not name.startswith(_AVERAGE)
        }
        """The final parameters, by name; empty before the run has ended."""
        self.average: Mapping[str, Array] = {
            name.removeprefix(_AVERAGE): value for name, value in params.items() if name.startswith(_AVERAGE)
        }
        """The averaged parameters at the end, by name; empty without an average."""

        self._predictors: dict[bool, Predictor] = {}
        self._goals = goals

    def params_at(self, step: int) -> Mapping[str, Array]:
        """Return the parameters after so many updates, by name: the final ones, or those that `record.params` keeps.

        Raises ConfigError for a step whose parameters are not kept, and StoreError if the store is damaged.
        """
        if step == self.record.params_step and self.params:
            return self.params
        if self.memory is not None or self.path is None:
            return self._snapshot(self.memory, step)
        with Store.open(self.path) as store:
            return self._snapshot(store, step)

    def trajectory(self) -> tuple[Array, Mapping[str, Array]]:
        """Return the steps `[T]` whose parameters are kept, the end among them, and these parameters `[T, *shape]`.

        `record.params` names the steps. Raises StoreError if the store is damaged.
        """
        if self.memory is not None or self.path is None:
            kept = self._kept(self.memory)
        else:
            with Store.open(self.path) as store:
                kept = self._kept(store)
        if self.params:
            kept[self.record.params_step] = self.params
        names = next(iter(kept.values()), {})
        return np.array([*kept], np.int64), {
            name: np.stack([of[name] for of in kept.values()]) for name in names
        }

    def _kept(self, results: Results | None) -> dict[int, Mapping[str, Array]]:
        run = self.record.run
        steps = results.snapshot_steps(run) if results is not None else []
        return {step: results.snapshot(run, step) for step in steps} if results is not None else {}

    def _snapshot(self, results: Results | None, step: int) -> Mapping[str, Array]:
        run = self.record.run
        kept = results.snapshot_steps(run) if results is not None else []
        if results is None or step not in kept:
            ends = [f"{each:,}" for each in (*kept, *([self.record.params_step] if self.params else []))]
            raise ConfigError(
                f"no parameters of step {step!r} are kept, only those of {', '.join(ends) or 'none'}: "
                f"record.params names the steps",
                field="record.params",
            )
        return results.snapshot(run, step)

    @property
    def classes(self) -> tuple[int | str, ...]:
        """The classes in the order of their probabilities; empty for a real target. Raises as `predict`."""
        return self._predictor().classes

    def predict(self, samples: Any, *, average: bool = False, decimal: Decimal | None = None) -> Array:
        """Return the classes in the words of the data, or the numbers in its units, ``[N]``, of new samples.

        ``samples`` are a data frame, whose columns are found by name, an array ``[N, *shape]``, or the path of a file;
        ``average`` takes the averaged parameters, and ``decimal`` is the decimal sign of numbers that are texts, by
        default the one that they show, or that of training. The model is computed in the dtype of the run on the CPU;
        numbers are float64. Warns about words that no training sample had. Raises ConfigError if the samples do not
        suit, also if a cell is missing for which nothing stands, or if the run predicts nothing, and StoreError if an
        older version ran it.
        """
        predictor = self._predictor(average)
        new = samples_of(predictor, samples, decimal=decimal)
        found = predicted(predictor, predictor.predictions(new))
        warn_of_unknown(predictor, new)
        return found

    def predict_proba(self, samples: Any, *, average: bool = False, decimal: Decimal | None = None) -> Array:
        """Return the probabilities ``[N, C]`` of the `classes` as float64; like `predict`."""
        predictor = self._predictor(average)
        new = samples_of(predictor, samples, decimal=decimal)
        found = probabilities(predictor, predictor.predictions(new))
        warn_of_unknown(predictor, new)
        return found

    def evaluate(
        self,
        samples: Any,
        targets: Any = None,
        *,
        metrics: Sequence[str] = (),
        average: bool = False,
        decimal: Decimal | None = None,
    ) -> Evaluation:
        """Return the figures of the run on samples with targets: loss, accuracy, those of ``metrics``, the confusion.

        The targets are a column of the samples, or given ``[N]``. Raises as `predict`, and ConfigError for a metric
        that does not suit.
        """
        predictor = self._predictor(average)
        new = samples_of(predictor, samples, targets, decimal=decimal)
        found = predictor.evaluate(new, metrics)
        warn_of_unknown(predictor, new)
        return found

    def _predictor(self, average: bool = False) -> Predictor:
        if average not in self._predictors:
            self._predictors[average] = predictor_of(self, average=average)
        return self._predictors[average]

    def figures(self, names: Iterable[str] = ()) -> Mapping[str, float | None]:
        """Return the summary, and those of these figures that are of its evaluations: `best_val_loss`, `area_loss`."""
        return expected_figures(names, self.record, lambda: self.evaluations, self.goal_of)

    def goal_of(self, name: str) -> Goal:
        """Return which end of a figure is the better one, as its sweep, or what stops it, says; else the usual one."""
        usual, stop = usual_goal(name), Stop.model_validate(self.config.get("stop") or {})
        given = [*filter(None, [self._goals]), stop.goal_of]
        return next((goal for goals in given if (goal := goals(name)) != usual), usual)

    def to_pandas(self, what: What = "curves") -> "pd.DataFrame":
        """Return the columns of `optrun export` as a data frame: a row for each of its curves or evaluations, or one.

        ``what`` is "curves", "evaluations" or "runs". Raises MissingExtraError without pandas.
        """
        from optrun.store.frame import data_frame

        columns = self.evaluations if check_what(what) == "evaluations" else self.curves
        return data_frame(
            run_table(what, [self.record], [self.setting], [str(self.status)], lambda run: columns)
        )

    def plot(
        self,
        *,
        metric: str = "loss",
        log: bool | None = None,
        smooth: int = 1,
        **look: Unpack["LookOptions"],
    ) -> "Figure":
        """Return a Matplotlib figure of a metric and the learning rate.

        ``smooth`` is the number of recorded steps of a running mean; ``look`` has ``title``, ``size`` (width and height
        in inches), ``dpi`` and ``style`` (paper or talk). Raises ConfigError for what cannot be drawn,
        MissingExtraError without Matplotlib.
        """
        from optrun.api.pictures import Choice, run_picture
        from optrun.plots.look import Look

        return run_picture(self, Choice(metric, log=log, smooth=smooth), Look(**look))

    def _repr_html_(self) -> str:
        rows = [("status", f"{self.status} {self.reason}"), ("steps", self.steps), *self.summary.items()]
        return html_table(("run", str(self.path or "")), rows)

    def __repr__(self) -> str:
        place = f" {self.path}" if self.path else ""
        return f"<Run{place} {self.status}: {counted(self.steps, 'step')}, final_loss={self.summary.get('final_loss')}>"


def run(
    config: RunConfig | Mapping[str, Any] | str | Path,
    *,
    data: Any = None,
    overrides: Sequence[str] = (),
    save: bool = True,
    directory: str | Path | None = None,
    plugins: Sequence[str] = (),
    observe: Callable[[Progress], None] | None = None,
    pack: Pack | None = None,
) -> Run:
    """Run a config, a mapping, a YAML file, or the config of a run of a sweep, `SWEEP:15` or `SWEEP:best`.

    The results are stored in ``directory``, by default a new one under `runs/`, unless ``save`` is false.
    ``data`` are samples that the config does not name: a data frame, or arrays ``(X, y)``; they are stored beside the
    run, in `data/`.
    ``plugins`` (files or modules that register problems, optimizers, …) are loaded first. ``observe`` is called with
    the progress a few times a second. The first Ctrl-C, SIGTERM, SIGHUP or SIGUSR1 stops the run at the next step,
    and `resume` continues it. ``pack`` is the pack of the config, if the caller has built it already.

    Raises ConfigError, StoreError, MissingExtraError, PluginError, or RunFailedError if the problem, the optimizer
    or the scheduler raises.
    """
    load_plugins(plugins)
    if not save and directory is not None:
        raise ConfigError("a run that is not saved has no directory", field="directory")
    with given(data, overrides, save=save, directory=directory) as overrides:
        return _run(
            config, overrides, save=save, directory=directory, plugins=plugins, observe=observe, pack=pack
        )


def _run(
    config: RunConfig | Mapping[str, Any] | str | Path,
    overrides: Sequence[str],
    *,
    save: bool,
    directory: str | Path | None,
    plugins: Sequence[str],
    observe: Callable[[Progress], None] | None,
    pack: Pack | None,
) -> Run:
    chosen = _config(config, overrides)
    pack = pack or pack_of(chosen)
    baselines = baselines_of(pack)
    beside = next(iter(baselines.values()), None)
    with interruptible() as interruption:
        if not save:
            memory = MemoryStore([chosen])
            keep_prepared(memory, prepared(chosen.to_dict(), pack.problem))
            trainer = Trainer(pack, memory, observe=observe, interrupted=interruption)
            return _trained(memory, trainer, interruption, beside)
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
            keep_prepared(store, prepared(chosen.to_dict(), pack.problem))
            if baselines:
                store.log(BASELINES, figures=baselines)
            trainer = Trainer(pack, store, observe=observe, interrupted=interruption)
            return _trained(store, trainer, interruption, beside)


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
    """Continue an interrupted or killed run from its last checkpoint, or from its start if it has none.

    ``path`` is a run as commands accept it, and ``plugins`` are loaded first. A run that has ended is returned
    unchanged; with more ``steps`` or ``epochs`` a completed run is continued as if it had had them from the start.
    ``note`` is called with the pack before training continues. Raises StoreError or StateError if the run is damaged,
    written by another process, or a sweep; ChangedError if its data or code have changed since it began, unless
    ``accept_changes`` is true; and ConfigError if its config.yaml has been edited, or if the run cannot have that many
    steps.
    """
    if steps is not None and epochs is not None:
        raise ConfigError("steps and epochs are both given: choose one", field="epochs")
    load_plugins(plugins)
    with interruptible() as interruption, Store.open(find_whole(path, "resume"), write=True) as store:
        _check_single(store)
        update_config_file(store)
        record = store.run(0)
        if not record.status.final or steps is not None or epochs is not None:
            pack = Pack([as_in_file(store.path / CONFIG, from_mapping(record.config))])
            identity = Identity.of(pack.configs[0], pack.problem.fingerprint)
            _, events = check_identity(store, identity, "run", "run it anew", accept=accept_changes)
            if steps is not None or epochs is not None:
                pack = prolong(store, pack, steps=steps, epochs=epochs)
                update_config_file(store)
                record = store.run(0)
        if record.status.final:
            write_csv(store)  # an earlier process may have been killed before it wrote this file
            return Run(
                store, path=store.path, baselines=stored_baselines(store.events(BASELINES), record.config)
            )
        if note is not None:
            note(pack)
        keep_prepared(store, prepared(record.config, pack.problem))
        trainer = Trainer(pack, store, observe=observe, interrupted=interruption)
        checkpoint = store.checkpoint()
        if checkpoint is not None:
            is_compared = accept_changes or bool(identity_of_store(store).data)
            trainer.resume([with_fingerprint(checkpoint, pack.problem.fingerprint if is_compared else None)])
        events |= note_machine_change(store)
        store.commit(states={0: RunState(status=Status.RUNNING, steps=record.steps)}, events=events)
        beside = stored_baselines(store.events(BASELINES), record.config)
        return _trained(store, trainer, interruption, beside)


def load_run(path: str | Path, run: int | None = None) -> Run:
    """Read a run, which may still be running.

    ``path`` is a directory, an id under `runs/` or the beginning of one, or "latest"; a run of a sweep is
    ``path="SWEEP:RUN"`` or ``"SWEEP:best"``, or the sweep and the number ``run``. Raises StoreError if the store is
    damaged, or if ``path`` is a sweep and no run is given.
    """
    from optrun.analysis.best_run import find_numbered
    from optrun.analysis.leaderboard import plan_of, single  # imports the sweeps, which `run` does not need

    directory, number = find_numbered(path)
    if run is not None and number not in (None, run):
        raise StoreError(f"{path}: this names run {number}, not run {run}")
    with Store.open(directory) as store:
        chosen, plan = single(store, number if run is None else run), plan_of(store)
        return Run(
            store,
            path=store.path,
            run=chosen,
            setting=plan.setting(chosen) if plan else None,
            goals=plan.goal_of if plan else None,
            baselines=stored_baselines(store.events(BASELINES), store.run(chosen).config),
        )


def _check_single(store: Store) -> None:
    """Raise StoreError if a store holds a sweep, even a sweep of one run."""
    from optrun.analysis.leaderboard import plan_of

    if plan_of(store) is not None:
        raise StoreError(f"{store.path}: a sweep: continue it with optrun.sweep or the command resume")
    if store.size > 1:  # older versions wrote the plan after the directory
        again = f"optrun sweep {store.path / CONFIG} -o {store.path}"
        raise StoreError(
            f"{store.path}: {counted(store.size, 'run')}, but no plan of a sweep; to continue: {again}"
        )


def _config(config: RunConfig | Mapping[str, Any] | str | Path, overrides: Sequence[str]) -> RunConfig:
    string_list("overrides", overrides)
    if isinstance(config, RunConfig):
        return from_mapping(config.to_dict(), overrides) if overrides else config
    if isinstance(config, Mapping):
        return from_mapping(config, overrides)
    if not isinstance(config, (str, os.PathLike)):
        got = type(config).__name__
        raise ConfigError(f"a run takes a RunConfig, a mapping or the path of a YAML file, not {got}")
    return resolve_any(config, overrides).config


def _trained(
    results: Store | MemoryStore, trainer: Trainer, interruption: Interruption, baselines: Baselines | None
) -> Run:
    began = time.monotonic()
    try:
        trainer.run()
    except StoreError as error:
        raise RunFailedError(str(error)) from error
    except RunFailedError as error:
        if isinstance(results, Store):
            results.log(TRACEBACK, 0, text=error.traceback)
        _finished(results, began)
        raise
    path = _finished(results, began)
    return Run(results, path=path, signal=interruption.signal, baselines=baselines)


def _finished(results: Store | MemoryStore, began: float) -> Path | None:
    """Log the duration, write metrics.csv, and return the run directory."""
    if isinstance(results, MemoryStore):
        return None
    results.log(LEFT, seconds=time.monotonic() - began)
    write_csv(results)
    return results.path
