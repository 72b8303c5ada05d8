"""The Python API of comparisons, and of the noise that limits them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.compare import Evidence, evidence_of
from optrun.analysis.comparison import Comparison as ComparisonTables
from optrun.analysis.figure_names import figures_in, lacking
from optrun.analysis.noise import Noise, noise_of
from optrun.api.arguments import check_texts
from optrun.api.html import html_table
from optrun.api.runs import Run
from optrun.api.sweeps import Sweep, check_ended, load_sweep, sweep
from optrun.config.sweep.model import Metric
from optrun.errors import ConfigError, brief, string_list
from optrun.store.directory import is_being_written
from optrun.store.locate import is_run_directory
from optrun.sweeps.plan.expand import CONFIRM
from optrun.sweeps.sweep_store import written_confirm
from optrun.training.curve_figures import with_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from optrun.plots.look import LookOptions


@dataclass(frozen=True)
class SweepComparison(ComparisonTables):
    """A comparison that draws itself."""

    _sweeps: ClassVar[tuple[Sweep | str | Path, ...]] = ()
    """What was compared; no field, since `to_dict` tells what was found alone."""

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the comparison as one HTML page, as `optrun.report` does, and return its path."""
        from optrun.api.reports import report

        return report(*self._sweeps, path=path, by=self.by, baseline=self.baseline, metric=self.metric)

    def plot(
        self,
        kind: str = "ranking",
        **look: Unpack["LookOptions"],
    ) -> "Figure":
        """Return a Matplotlib figure over problems: ranking or profile, as `optrun plot` draws them.

        ``look`` is that of `Run.plot`. Raises ConfigError for what cannot be drawn, such as a single problem,
        MissingExtraError without Matplotlib.
        """
        from optrun.api.pictures import comparison_picture
        from optrun.plots.look import Look

        return comparison_picture(self, kind, Look(**look))

    def __str__(self) -> str:
        return "\n".join([self.verdict, *(f"careful: {warning}" for warning in self.warnings)])

    def _repr_html_(self) -> str:
        rows = [
            [table.problem, row.value, _setting(row.setting), row.n, row.median, row.low, row.high]
            for table in self.problems
            for row in table.rows
        ]
        header = ("problem", self.by, "setting", "n", f"median {self.metric}", "95 % from", "to")
        return html_table(header, rows, self.verdict)


Given = Sweep | str | Path
"""A sweep, or where it is."""

Comparison = SweepComparison
"""The name of the class in `optrun`."""


def _setting(setting: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{path}={value:.4g}" if isinstance(value, float) else f"{path}={value}"
        for path, value in setting.items()
    )


def compare(
    *sweeps: Given | Sequence[Given],
    by: str | None = None,
    baseline: str | float | None = None,
    metric: str | None = None,
) -> SweepComparison:
    """Compare the best settings of one or more sweeps, on each problem and over problems.

    A sweep is one of `sweep`, or a directory; a list of them is one too many words for the same. ``by`` is a path of
    the config, by default that of what varies (the optimizer, the scheduler, or the only parameter), several paths
    separated by commas, or ``sweep``; ``baseline`` is one of its values, by default
    AdamW, Adam, SGD or the first one; ``metric`` a figure of the summary, by default that of the sweeps.

    Raises ConfigError if there is nothing to compare, a name is unknown or an argument is none of these, StoreError if
    a store is damaged.
    """
    given = given_sweeps(sweeps)
    found = SweepComparison(**vars(evidence(*given, by=by, baseline=baseline, metric=metric).comparison))
    object.__setattr__(found, "_sweeps", tuple(given))  # of this frozen object alone
    return found


def evidence(
    *sweeps: Given, by: str | None = None, baseline: str | float | None = None, metric: str | None = None
) -> Evidence:
    """Compare sweeps as `compare` does, and return what the comparison was made from as well."""
    check_texts(by=by, metric=metric)
    if isinstance(baseline, (int, float)):
        baseline = f"{baseline:.12g}"
    if not (baseline is None or isinstance(baseline, str)):
        raise ConfigError(
            f"baseline must be a value of what is compared, not {brief(baseline)}", field="baseline"
        )
    return evidence_of(compared_sweeps(sweeps), by, baseline, metric)


def given_sweeps(sweeps: Sequence[Given | Sequence[Given]]) -> list[Given]:
    """Return the sweeps that were given, one by one or in a list; ConfigError for anything else."""
    found: list[Any] = []
    for each in sweeps:
        found += each if isinstance(each, (list, tuple)) else [each]
    for each in found:
        if not isinstance(each, (Sweep, str, os.PathLike)):
            what = "a single run" if isinstance(each, Run) else type(each).__name__
            raise ConfigError(f"a comparison takes sweeps, or their directories, not {what}")
    if not found:
        raise ConfigError("a comparison needs a sweep")
    return found


def noise(
    config: Mapping[str, Any] | str | Path,
    *,
    seeds: int = 20,
    metric: str | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[str] = (),
) -> Noise:
    """Run a config with so many seeds, which are not saved, and return the spread of a metric over them.

    The first seed is that of the config; ``metric`` is a figure of the summary, by default the final loss. Raises
    ConfigError for fewer than two seeds or an unknown metric, and RunFailedError if a run fails or is interrupted.
    """
    if type(seeds) is not int:
        raise ConfigError(f"seeds must be an integer, not {brief(seeds)}", field="seeds")
    if seeds < 2:
        raise ConfigError(f"noise needs two seeds or more, not {seeds}")
    check_texts(metric=metric)
    string_list("overrides", overrides)
    found = sweep(
        config,
        overrides=[*overrides, f"sweep.repeats={seeds}", "sweep.confirm=null"],
        save=False,
        plugins=plugins,
    )
    if len(found.settings) > 1:
        raise ConfigError(f"noise is that of one setting, not of {len(found.settings)}: turn the sweep off")
    check_ended(found)
    chosen = found.metric if metric is None else Metric(name=metric)
    states = with_figure(found.states, found, chosen.name, chosen.goal_of)
    known = figures_in(states, has_target=found.configs[0].stop.target is not None)
    if known and chosen.name not in known:
        raise ConfigError(f"no run has the metric {chosen.name}.{lacking(chosen.name, known)}")
    return noise_of(states, chosen)


def compared_sweeps(sweeps: Sequence[Sweep | str | Path]) -> list[ComparedSweep]:
    """Return sweeps as a comparison takes them, each with a name."""
    return [compared(each, label) for each, label in zip(sweeps, _labels(sweeps), strict=True)]


def _labels(sweeps: Sequence[Sweep | str | Path]) -> list[str]:
    """Return a name for each sweep: that of its directory, or else its path, or its number."""
    paths = [each.path if isinstance(each, Sweep) else Path(each) for each in sweeps]
    names = [f"sweep {number}" if path is None else path.name for number, path in enumerate(paths, 1)]
    return [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]


def compared(given: Sweep | str | Path, label: str) -> ComparedSweep:
    """Return what is compared of a sweep, with its confirmation."""
    sweep = given if isinstance(given, Sweep) else load_sweep(given)
    confirmed = None if sweep.confirmed is None else compared(sweep.confirmed, label)
    found = ComparedSweep(
        label, sweep.ranking, sweep.records(), confirmed, sweep.runs, sweep, baselines=sweep.known_baselines()
    )
    path = sweep.path
    if path is None:
        return found
    is_confirmation = path.name == CONFIRM and is_run_directory(path.absolute().parent)
    of_all = path.parent if is_confirmation else path
    found = replace(
        found,
        path=of_all if of_all.is_dir() and not is_being_written(of_all, unknown=False) else None,
        confirms=not is_confirmation and written_confirm(path) is not None,
    )
    if not is_confirmation:
        return found
    tuned = load_sweep(of_all)
    found = replace(found, tuned=ComparedSweep(label, tuned.ranking, tuned.records()))
    return replace(found, confirmed=found)  # it has no other seeds than fresh ones
