"""Which run is meant: as the store finds it, or as `SWEEP:best`, the best setting of a sweep."""

from collections.abc import Sequence
from pathlib import Path

from optrun.analysis.leaderboard import SweepPlan, best_of, leaderboard, plan_of
from optrun.errors import StoreError
from optrun.store import RunState, Store, locate
from optrun.store.locate import BEST, RESULTS, RUNS, find_run, is_run_directory, known_run
from optrun.sweeps.plan.expand import CONFIRM


def find_numbered(text: str | Path, root: Path = RUNS) -> tuple[Path, int | None]:
    """Return the directory that a text such as `SWEEP:RUN` names, and the number of the run, None without one.

    `SWEEP:best` is the first run of the best setting that has a result. Raises StoreError as `best_run` and `find_run`.
    """
    if (sweep := _sweep_of(text, root)) is None:
        return locate.find_numbered(text, root)
    path = find_run(sweep, root)
    return path, best_run(path)


def known_numbered(text: str | Path, root: Path = RUNS) -> tuple[Path, int | None] | None:
    """Return what `find_numbered` returns for a path, a whole id or `latest`; None for others."""
    if (sweep := _sweep_of(text, root)) is None:
        return locate.known_numbered(text, root)
    path = known_run(sweep, root)
    return (path, best_run(path)) if path is not None and is_run_directory(path) else None


def best_run(path: Path) -> int:
    """Return the number of the first run, with a result, of the best setting of a sweep; a confirmation decides.

    Raises StoreError for a single run, if nothing has a result, or if there are several problems, with the best run of
    each.
    """
    with Store.open(path) as store:
        plan, states = plan_of(store), store.states()
    if plan is None:
        raise StoreError(f"{path}: a single run, which has no best one: name it without :{BEST}")
    best = _best(path, plan, states)
    if not best:
        raise StoreError(f"{path}: no setting has a result yet")
    if len(best) > 1:
        runs = "; ".join(f"{path}:{run} for {problem}" for problem, run in best.items())
        raise StoreError(f"{path}: it has several problems, each with a best run: {runs}")
    return next(iter(best.values()))


def _best(path: Path, plan: SweepPlan, states: Sequence[RunState]) -> dict[str | None, int]:
    """Return the best run of each problem."""
    settings = list(plan.settings)
    found = {each.problem: each.first // plan.repeats for each in best_of(leaderboard(plan, states))}
    confirmed = path / CONFIRM
    if (confirmed / RESULTS).exists():
        with Store.open(confirmed) as store:
            again, ended = plan_of(store), store.states()
        if again is not None and all(state.status.final for state in ended):
            for each in best_of(leaderboard(again, ended)):
                if each.setting in settings:
                    index = settings.index(each.setting)
                    found[plan.problems[index] if plan.problems else None] = index
    return {problem: _first(plan, index, states) for problem, index in found.items()}


def _first(plan: SweepPlan, index: int, states: Sequence[RunState]) -> int:
    """Return the first run of a setting that has a result."""
    runs = range(index * plan.repeats, (index + 1) * plan.repeats)
    return next((run for run in runs if states[run].figure(plan.metric) is not None), runs[0])


def _sweep_of(text: str | Path, root: Path) -> str | None:
    """Return the sweep whose best run a text names; None for a text that names something else."""
    name, _, number = str(text).rpartition(":")
    is_best = bool(name) and number == BEST and not Path(text).exists() and known_run(text, root) is None
    return name if is_best else None
