"""The results of a sweep: its runs, and the ranking of its settings."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Self, Unpack, overload
from weakref import finalize

from optrun.analysis.chosen_runs import stored_table
from optrun.analysis.leaderboard import Standing, SweepPlan, by_problem, first_of_each, leaderboard
from optrun.analysis.sensitivity import Sensitivity, ranked_by, sensitivity
from optrun.analysis.untrained import untrained_by_problem
from optrun.api.html import html_table
from optrun.api.runs import Run
from optrun.arrays import Array
from optrun.config import RunConfig, from_mapping
from optrun.config.sweep.model import Metric
from optrun.errors import StoreError, counted
from optrun.fallbacks import Fallback
from optrun.store import RunRecord, RunState, Store
from optrun.store.event_names import BASELINES
from optrun.store.frame import data_frame
from optrun.store.run_table import What, check_what, run_table
from optrun.store.states import States
from optrun.sweeps.plan.expand import Plan
from optrun.training.baselines import Baselines, known_baselines
from optrun.training.curve_figures import with_figure
from optrun.training.memory_store import MemoryStore

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from optrun.plots.look import LookOptions

MOST_ROWS = 10
"""The most settings in the table that a notebook shows."""

MOST_COMPARED = 50
"""The most settings with equal summaries whose loss curves are compared."""
MOST_COMPARED_IN_ALL = 1_000
"""The most settings whose loss curves are compared."""


class Sweep:
    """A finished or interrupted sweep: its runs, in the order of the plan, and the ranking of its settings."""

    def __init__(
        self,
        ranking: SweepPlan,
        results: Store | MemoryStore,
        states: States,
        *,
        plan: Plan | None = None,
        signal: int | None = None,
        executed: int = 0,
    ) -> None:
        self.path = results.path if isinstance(results, Store) else None
        """The directory of the sweep; None if it is not saved."""
        self.signal = signal
        """The number of the signal that interrupted the sweep, or None."""
        self.executed = executed
        """The number of runs that ended in this call of `sweep`; 0 for a loaded sweep."""
        self._results: MemoryStore | Path = results if isinstance(results, MemoryStore) else results.path
        self._runs = _Runs(len(states), self._results, ranking)
        self.runs: Sequence[Run] = self._runs
        """The runs, as `run` returns them; those of a saved sweep are read lazily."""
        self.plan = plan
        """The plan, including settings that the sweep method added during the sweep; None for a loaded sweep."""
        self.metric = Metric(name=ranking.metric, goal="maximize" if ranking.maximize else "minimize")
        """The metric by which settings are ranked."""
        self.settings = ranking.settings
        """The values of the swept parameters, one mapping for each setting; a setting has one run per seed."""
        self.states: States = with_figure(states, results, ranking.metric, ranking.goal_of)
        self.left = max(ranking.runs, len(states)) - int(states.ended.sum())
        """The number of runs that have not ended, including runs that the sweep method has yet to propose."""
        self.confirmed: Sweep | None = None
        """The best settings on fresh seeds, if the sweep has `confirm` and is through; else None."""
        self.confirmation_left = 0
        """The number of runs of the confirmation that have not ended; 0 as long as the sweep itself is not through."""
        self.ranking = ranking
        """The settings, the number of seeds and the metric, as they are stored."""

    @cached_property
    def configs(self) -> Sequence[RunConfig]:
        """The config of each run; ConfigErrors if a loaded sweep needs a plugin that is not loaded."""
        return [from_mapping(run.config) for run in self.runs] if self.plan is None else self.plan.configs

    def standings(self) -> Sequence[Standing]:
        """Return the settings with their results, the best first; those of several problems problem by problem.

        A diverged run counts as the worst value; settings with a failed run come after all others.
        """
        return self._standings

    @cached_property
    def _standings(self) -> Sequence[Standing]:
        return leaderboard(self.ranking, self.states)

    def table(self) -> list[dict[str, Any]]:
        """Return `standings` as plain values: median and quartiles of the metric over a setting's seeds.

        ``problem`` is the label of a setting's problem; None if the sweep has one problem.
        """
        return [standing.to_dict() for standing in self.standings()]

    def sensitivity(
        self, parameter: str | None = None, metric: str | None = None, problem: str | None = None
    ) -> Sensitivity:
        """Return how a metric depends on a numeric parameter, such as `optimizer.lr`.

        ``parameter`` is by default the learning rate, or the only number that varies; ``metric`` that of the sweep;
        ``problem`` is needed if the sweep has several: the label of one, or a part of it.
        """
        plan, states = self.ranked_by(metric)
        return sensitivity(plan, states, parameter, problem)

    def ranked_by(self, metric: str | None) -> tuple[SweepPlan, Sequence[RunState]]:
        """Return what ranks its settings by a metric, by default its own: a plan, and the states of the runs.

        Raises ConfigError if no run has the metric.
        """
        if metric is None or metric == self.ranking.metric:
            return self.ranking, self.states
        with self._opened() as results:
            return ranked_by(self.ranking, results, metric)

    def equal_settings(self) -> list[list[int]]:
        """Return groups of settings, by their indices, whose results are bit-identical.

        Of the settings with equal summaries, the loss curves of the first 50 are compared, and 1,000 in all, those of
        the largest groups first: among many runs some are equal by chance.
        """
        alike: defaultdict[Any, list[int]] = defaultdict(list)
        repeats = self.ranking.repeats
        for setting in self.states.alike(repeats):
            states = self.states[setting * repeats : (setting + 1) * repeats]
            if all(state.status.final and not state.is_bad for state in states):
                figures = [(state.status, state.steps, *state.summary.items()) for state in states]
                alike[tuple(figures)].append(setting)
        found, left = [], MOST_COMPARED_IN_ALL
        for settings in sorted(alike.values(), key=len, reverse=True):
            # Summaries may be equal by chance, such as accuracies of 1; loss curves are not.
            losses: defaultdict[bytes, list[int]] = defaultdict(list)
            for setting in settings[: min(MOST_COMPARED, left)] if len(settings) > 1 else ():
                losses[self.runs[setting * repeats].curves["loss"].tobytes()].append(setting)
            found += [each for each in losses.values() if len(each) > 1]
            left -= sum(map(len, losses.values()))
        return sorted(found)

    def records(self) -> list[RunRecord]:
        """Return the config, the seed and the state of every run, without its curves."""
        with self._opened() as results:
            in_memory = isinstance(results, MemoryStore)
            records = [results.run(run) for run in range(len(self.states))] if in_memory else results.runs()
        return [
            replace(record, derived=state.derived) if state.derived else record
            for record, state in zip(records, self.states, strict=True)
        ]

    def known_baselines(self) -> Mapping[str, Baselines]:
        """Return the figures of what predicts without training, by the data; nothing where it is not saved."""
        with self._opened() as results:
            return known_baselines(results.events(BASELINES)) if isinstance(results, Store) else {}

    @property
    def untrained(self) -> Mapping[str | None, Mapping[str, float]]:
        """The metric of what predicts without training, such as `class prior`, by its name, for each problem.

        The label of the problem is None if the sweep has one. There is nothing of a sweep that is not saved.
        """
        known = self.known_baselines()
        return untrained_by_problem(
            known, self.standings(), self.metric.name, lambda run: self.runs[run].config
        )

    def series(self, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Array]]]:
        """Yield each run that was evaluated by all of these metrics, and the columns ``[n]`` of these and the steps."""
        with self._opened() as results:
            yield from results.series(names)

    def seconds(self) -> Mapping[int, float | None]:
        """Return how long runs took that ended at their target; None for those that shared a pack."""
        with self._opened() as results:
            found: Mapping[int, float | None] = results.seconds()
            return found

    def _opened(self) -> AbstractContextManager[Any]:
        """Return the results, a store or those in memory."""
        return (
            nullcontext(self._results)
            if isinstance(self._results, MemoryStore)
            else Store.open(self._results)
        )

    def to_pandas(self, what: What = "runs") -> "pd.DataFrame":
        """Return the table of `optrun export` as a data frame: a row for each run, or of its curves or evaluations.

        ``what`` is "runs", "curves" or "evaluations". Raises MissingExtraError without pandas.
        """
        rows = check_what(what)
        if not isinstance(self._results, MemoryStore):
            with Store.open(self._results) as store:
                return data_frame(stored_table(store, rows))
        records = self.records()
        settings = [self.ranking.setting(record.run) for record in records]
        read = self._results.curves if rows == "curves" else self._results.evaluations
        return data_frame(run_table(rows, records, settings, [str(each.status) for each in records], read))

    def plot(
        self,
        kind: str | None = None,
        *,
        metric: str | None = None,
        by: str | None = None,
        over: str | Sequence[str] = (),
        problem: str | None = None,
        log: bool | None = None,
        smooth: int = 1,
        **look: Unpack["LookOptions"],
    ) -> "Figure":
        """Return a Matplotlib figure: curves, sensitivity, best, profile, ranking, heat or tuning, as in `optrun plot`.

        ``metric``, ``by``, ``over``, ``problem`` and ``smooth`` are options of some kinds; ``look`` is that of
        `Run.plot`. Raises ConfigError for what cannot be drawn, MissingExtraError without Matplotlib.
        """
        from optrun.api.pictures import Choice, sweep_picture
        from optrun.plots.look import Look

        parameters = (over,) if isinstance(over, str) else tuple(over)
        choice = Choice(metric, by, parameters, log, smooth, problem)
        return sweep_picture(self, kind, choice, Look(**look))

    def _repr_html_(self) -> str:
        problems = len(by_problem(self._standings))
        best = first_of_each(self._standings, max(1, MOST_ROWS // problems))
        paths = list(dict.fromkeys(path for each in best for path in each.setting))
        several = problems > 1
        rows = [
            [
                *[each.problem] * several,
                *map(each.setting.get, paths),
                each.median,
                each.lower,
                each.upper,
                each.diverged,
            ]
            for each in best
        ]
        more = len(self.settings) - len(best)
        which = "best settings of each problem" if several else f"best {len(best)} settings"
        note = f"; the {which}, {more:,} more" if more else ""
        header = [
            *["problem"] * several,
            *paths,
            f"median {self.metric.name}",
            "1st quartile",
            "3rd quartile",
            "diverged",
        ]
        return html_table(header, rows, f"{self!r}"[1:-1] + note)

    def close(self) -> None:
        """Close the store; reading another run opens it again."""
        self._runs.close()
        if self.confirmed is not None:
            self.confirmed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        place = f" {self.path}" if self.path else ""
        ended = int(self.states.ended.sum())
        return f"<Sweep{place}: {ended} of {counted(ended + self.left, 'run')}>"


class _Runs(Sequence[Run]):
    """The runs of a sweep, read from memory or from its directory; all threads share one reader."""

    def __init__(self, size: int, results: MemoryStore | Path, ranking: SweepPlan) -> None:
        self._size = size
        self._results = results
        self._ranking = ranking
        self._store: Store | None = None
        self._lock = RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Runs, (self._size, self._results, self._ranking)

    def close(self) -> None:
        with self._lock:
            if self._store is not None:
                self._store.close()
            self._store = None

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        place = "" if isinstance(self._results, MemoryStore) else f" of {self._results}"
        return f"<{counted(self._size, 'run')}{place}>"

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> list[Run]: ...
    def __getitem__(self, index: int | slice) -> Run | list[Run]:
        chosen = range(self._size)[index]
        return self._read(chosen) if isinstance(chosen, int) else [self._read(run) for run in chosen]

    def __iter__(self) -> Iterator[Run]:
        return map(self._read, range(self._size))

    def _read(self, run: int) -> Run:
        setting, goals = self._ranking.setting(run), self._ranking.goal_of
        if isinstance(self._results, MemoryStore):
            return Run(self._results, run=run, setting=setting, goals=goals)
        with self._lock:
            if self._store is not None:
                with Fallback(f"{self._results} is opened again", StoreError):
                    return Run(self._store, path=self._results, run=run, setting=setting, goals=goals)
                # A writer killed since then has left a journal, which is rolled back only when the store is opened.
                self.close()
            self._store = store = Store.open(self._results)
            finalize(self, store.close)
            return Run(store, path=self._results, run=run, setting=setting, goals=goals)
