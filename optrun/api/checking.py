"""The Python API of checks, which say whether results are as good as a baseline or a target."""

from pathlib import Path

from optrun.analysis.best_run import find_numbered
from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.check import Check
from optrun.analysis.leaderboard import SweepPlan, is_sweep
from optrun.analysis.regression import regression
from optrun.analysis.target import reaching
from optrun.api.arguments import check_numbers, check_texts
from optrun.api.comparisons import compared
from optrun.api.runs import Run, load_run
from optrun.api.sweeps import Sweep, load_sweep
from optrun.errors import ConfigError, RunFailedError, counted
from optrun.store import RunRecord
from optrun.training.curve_figures import CurveFigure
from optrun.training.figures import FINAL_LOSS

Checked = Sweep | Run | str | Path


def check(
    new: Checked,
    *,
    baseline: Checked | None = None,
    target: float | None = None,
    by: str | None = None,
    metric: str | None = None,
    tolerance: float | str | None = None,
    p: float | None = None,
    sigma: float | None = None,
) -> Check:
    """Check that a sweep, or a run, is not worse than a baseline, another sweep or run, or that it reaches a target.

    The best setting of each problem and of each value of ``by``, a path of the config, is judged: by default of each
    optimizer, if the optimizer varies, or else of each scheduler. Beside a baseline, the ``metric`` may be worse by
    ``tolerance``, a number, or a part of the baseline such as "2%", in the median over seeds; with ``p``, what is worse
    by more fails only if the one-sided signed-rank test has at most this p-value. A target is reached by the median
    over seeds; with ``p``, if a one-sided test of their mean has at most this p-value: a t-test (the signed-rank test
    without SciPy), or a normal test if ``sigma``, the standard deviation of a run, is given.

    Raises ConfigError if there is nothing to compare or a name is unknown, RunFailedError if runs of ``new`` have not
    ended, StoreError if a store is damaged.
    """
    check_numbers(target=target, p=p, sigma=sigma)
    check_texts(by=by, metric=metric)
    if (baseline is None) == (target is None):
        raise ConfigError("a check has a baseline or a target: give one of them")
    if target is None and sigma is not None:
        raise ConfigError("sigma: it goes with a target")
    if baseline is None and tolerance is not None:
        raise ConfigError("tolerance: it goes with a baseline")
    source = _source(new)
    if left := _left(source):  # what they will show is not known
        raise RunFailedError(f"{_label(new, 'what is checked')}: {counted(left, 'run')} left to end")
    is_run = isinstance(source, Run)
    if is_run and (by is not None or (p is not None and sigma is None)):
        raise ConfigError(
            f"{'p' if by is None else 'by'}: a single run has no seeds and no settings to compare"
        )
    path = "" if is_run else by
    checked = _compared(new, source, "what is checked", metric)
    if target is not None:
        return reaching(checked, target, path, metric, p, sigma)
    assert baseline is not None
    old = _source(baseline)
    if isinstance(old, Run) != is_run:
        raise ConfigError("a run is compared to a run, and a sweep to a sweep")
    compared_to = _compared(baseline, old, "the baseline", metric)
    return regression(checked, compared_to, path, metric, 0.0 if tolerance is None else tolerance, p)


def _source(given: Checked) -> Sweep | Run:
    if isinstance(given, (Sweep, Run)):
        return given
    directory, number = find_numbered(given)
    return load_sweep(directory) if number is None and is_sweep(directory) else load_run(given)


def _left(source: Sweep | Run) -> int:
    """Return how many runs have not ended."""
    if isinstance(source, Run):
        return 0 if source.status.final else 1
    return source.left or source.confirmation_left


def _compared(given: Checked, source: Sweep | Run, otherwise: str, metric: str | None) -> ComparedSweep:
    """Return a sweep to compare; a run is one of one setting and no particular problem and seed."""
    label = _label(given, otherwise)
    if isinstance(source, Sweep):
        return compared(source, label)
    name = metric or FINAL_LOSS
    record = RunRecord(
        run=0,
        seed=0,
        config={"problem": {}, "stop": source.config.get("stop")},
        status=source.status,
        reason=source.reason,
        steps=source.steps,
        summary=source.summary,
        derived=source.figures([name]) if CurveFigure.named(name) else {},
    )
    plan = SweepPlan([{}], 1, name, maximize=source.goal_of(name) == "maximize")
    return ComparedSweep(label, plan, [record])


def _label(given: Checked, otherwise: str) -> str:
    path = given.path if isinstance(given, (Sweep, Run)) else given
    return otherwise if path is None else str(path)
