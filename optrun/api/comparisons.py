"""The Python API of comparisons."""

from pathlib import Path

from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.compare import comparison_of
from optrun.analysis.comparison import Comparison
from optrun.api.sweeps import Sweep, load_sweep
from optrun.errors import ConfigError


def compare(
    *sweeps: Sweep | str | Path, by: str | None = None, baseline: str | None = None, metric: str | None = None
) -> Comparison:
    """Compare the best settings of one or more sweeps, on each problem and over problems.

    A sweep is one of `sweep`, or a directory. ``by`` is a path of the config, by default that of what varies
    (the optimizer, the scheduler, or the only parameter), or ``sweep``; ``baseline`` is one of its values, by default
    AdamW, Adam, SGD or the first one; ``metric`` a figure of the summary, by default that of the sweeps.

    Raises ConfigError if there is nothing to compare or a name is unknown, StoreError if a store is damaged.
    """
    if not sweeps:
        raise ConfigError("a comparison needs a sweep")
    labels = _labels(sweeps)
    with_runs = [_compared(each, label) for each, label in zip(sweeps, labels, strict=True)]
    return comparison_of(with_runs, by, baseline, metric)


def _labels(sweeps: tuple[Sweep | str | Path, ...]) -> list[str]:
    """Return a name for each sweep: that of its directory, or else its path, or its number."""
    paths = [each.path if isinstance(each, Sweep) else Path(each) for each in sweeps]
    names = [f"sweep {number}" if path is None else path.name for number, path in enumerate(paths, 1)]
    return [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]


def _compared(given: Sweep | str | Path, label: str) -> ComparedSweep:
    sweep = given if isinstance(given, Sweep) else load_sweep(given)
    confirmed = None if sweep.confirmed is None else _compared(sweep.confirmed, label)
    return ComparedSweep(label, sweep.ranking, sweep.records(), confirmed)
