"""The noise of a metric over seeds."""

import json as json_module
from collections.abc import Sequence
from pathlib import Path

from optrun.analysis.leaderboard import worst
from optrun.api.comparisons import noise
from optrun.cli.text.console import emit, table

FEW = 10
"""The spread of fewer values is not known well."""


def print_noise(
    config: Path,
    overrides: Sequence[str],
    seeds: int,
    metric: str | None,
    plugins: Sequence[str],
    *,
    json: bool,
) -> None:
    """Run a config with several seeds and print the spread of a metric on stdout."""
    found = noise(config, seeds=seeds, metric=metric, overrides=overrides, plugins=plugins)
    if json:
        print(json_module.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False))
        return
    of = f"{found.metric} over {found.n} seeds"
    if found.median is None:
        print(f"{of}: all {worst(found.metric)}")
        return
    if found.same:
        why = ": the seed changes nothing" if found.same_runs else ", by runs that differ"
        print(f"{of}: {found.median:.6g} with each{why}")
        return
    print(
        f"{of}: median {found.median:.4g}, standard deviation {found.deviation:.3g}, "
        f"from {found.least:.4g} to {found.greatest:.4g}"
    )
    if found.diverged:
        print(f"careful: {found.diverged} of {found.n} runs {worst(found.metric)}, which are not counted")
    if found.n < FEW:
        print(f"careful: from {found.n} seeds the differences below are rough")
    made = table("seeds", "smallest difference shown", "of the median", right=("seeds",))
    for n, difference in found.detectable.items():
        relative = "" if difference is None or not found.median else f"{abs(difference / found.median):.2g}"
        made.add_row(str(n), "none" if difference is None else f"{difference:.3g}", relative)
    emit(made)
    print(
        "the difference of two settings that a single comparison shows in 80 % of the cases, at the level of 5 %"
    )
