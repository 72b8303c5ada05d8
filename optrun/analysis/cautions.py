"""What may mislead about a comparison: selection on what is reported, few seeds, edges, unequal budgets."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.comparison import Comparison, ProblemTable
from optrun.analysis.comparison_words import changes_nothing, number_text, on_problems
from optrun.analysis.leaderboard import worst
from optrun.analysis.overall import MOST_NAMED
from optrun.analysis.selection import BY_SWEEP, short_value, value_at
from optrun.analysis.statistics import LEAST_SEEDS, SIGNIFICANCE
from optrun.analysis.unended import selected_on_reported, unended
from optrun.config.goal import TEST, VALIDATION, of_data
from optrun.errors import counted
from optrun.store.types import STEPS_TO_TARGET, TIME_TO_TARGET, TO_TARGET
from optrun.training.curve_figures import CurveFigure


def cautions(found: Comparison, sweeps: Sequence[ComparedSweep]) -> Iterator[str]:
    """Yield what may mislead: selection on the reported seeds or test data, few seeds, edges, unequal budgets."""
    rows = [(table, row) for table in found.problems for row in table.rows]
    is_chosen = any(row.trials > 1 for _, row in rows)
    yield from selected_on_reported(found, sweeps)
    for metric in sorted({sweep.plan.metric for sweep in sweeps}):
        if is_chosen and TEST in of_data(metric):
            yield (
                f"the settings were selected by {metric}, on the test data: problem.validation_fraction and "
                "a metric val_… select on others"
            )
    if found.metric == TIME_TO_TARGET:
        yield (
            f"{TIME_TO_TARGET} is measured: it depends on the machine and on what else ran there, and another "
            "execution has other times"
        )
    if (
        (best := CurveFigure.named(found.metric)) is not None
        and best.kind == "best"
        and TEST in of_data(found.metric)
    ):
        yield f"{found.metric} chooses the evaluation on the test data, which favours curves that vary more"
    yield from _of_seeds(found)
    yield from _of_ties(found, sweeps)
    yield from _of_edges(found)
    budgets = [
        row.trials
        for table in found.problems
        if len({row.trials for row in table.rows}) > 1
        for row in table.rows
    ]
    if budgets:
        yield f"not equally many settings were tried of each on a problem, {min(budgets)} to {max(budgets)}"
    shared = {_split_of(config) for sweep in sweeps for config in sweep.configs} - {None}
    if shared and any(row.n > 1 for _, row in rows) and of_data(found.metric) & {TEST, VALIDATION}:
        yield "all seeds share one split of the data: problem.split_seed: seed shows what depends on it"
    everywhere = {row.value for _, row in rows}
    values = [value_at(config, found.by) for sweep in sweeps for config in sweep.configs]
    compared = {short_value(each) for each in values if each is not None}
    if found.by != BY_SWEEP and (lost := compared - set(map(short_value, everywhere))):
        yield f"no result of {', '.join(sorted(lost))} on any problem"
    for table in found.problems:
        if found.baseline not in {row.value for row in table.rows}:
            yield f"{table.problem}: no result of the baseline {found.baseline}: nothing is compared with it there"
    yield from _of_profile(found)
    yield from _of_rows(found)
    for table in found.problems:
        if len(lengths := dict.fromkeys(row.length for row in table.rows)) > 1:
            yield f"{table.problem}: the runs have different lengths, {', '.join(lengths)}"
        elif (
            (steps := _ends(table)) and steps[0] < steps[1] and (of := _part_of_curves(found.metric, sweeps))
        ):
            yield (
                f"{table.problem}: the runs were stopped after {steps[0]:,} to {steps[1]:,} steps, and "
                f"{found.metric} is that of {of}"
            )
    yield from unended(found, sweeps)


def _of_profile(found: Comparison) -> Iterator[str]:
    """Yield why there is no performance profile: a median that is not positive, among metrics that are to be low."""
    if not found.ranking or found.goal == "maximize" or found.ranking[0].profile_score is not None:
        return
    ranked = {rank.value for rank in found.ranking}
    those = [
        f"{number_text(row.median)} ({row.value} on {table.problem})"
        for table in found.problems
        for row in table.rows
        if row.value in ranked and row.median is not None and row.median <= 0
    ]
    more = f" and {len(those) - MOST_NAMED} more" * (len(those) > MOST_NAMED)
    yield (
        "there is no performance profile, which needs ratios to the best and so positive medians: "
        f"{', '.join(those[:MOST_NAMED])}{more}"
    )


def _part_of_curves(metric: str, sweeps: Sequence[ComparedSweep]) -> str:
    """Return of which steps a figure is where it depends on the length of a run; else nothing."""
    figure = CurveFigure.named(metric)
    if figure is not None and figure.kind == "area":
        return "the steps of each"
    is_of_best = figure is not None and figure.kind in ("best", "at_best")
    restored = (figure is None) and any(
        (config.get("stop") or {}).get("restore_best") for sweep in sweeps for config in sweep.configs
    )
    return "" if metric in TO_TARGET or is_of_best or restored else "the end of each"


def _ends(table: ProblemTable) -> tuple[int, int] | None:
    """Return the least and the greatest number of steps after which runs of a problem ended."""
    steps = [row.steps for row in table.rows if row.steps is not None]
    return (min(least for least, _ in steps), max(most for _, most in steps)) if steps else None


def _split_of(config: Mapping[str, Any]) -> Any:
    """Return the seed of the split that the runs of all seeds share, None if each has its own."""
    seed = config["problem"].get("split_seed")
    return None if seed == "seed" else seed


def _of_rows(found: Comparison) -> Iterator[str]:
    """Yield what is particular to single rows."""
    for table in found.problems:
        has_baseline = any(row.value == found.baseline for row in table.rows)
        is_pruned = any(row.pruned is not None for row in table.rows if row.value == found.baseline)
        for row in table.rows:
            if row.pruned is not None:
                yield f"{row.value} was pruned at step {row.pruned:,} on {table.problem}: it is not tested"
            elif has_baseline and not is_pruned and row.value != found.baseline and row.difference is None:
                yield f"{row.value} and {found.baseline} have no seed in common on {table.problem}: not tested"
            if row.diverged == row.n:
                yield f"{row.value} {worst(found.metric)} with all seeds on {table.problem}"
            if row.missing:
                of = row.n + row.missing
                yield f"{row.value}: {row.missing} of {counted(of, 'run')} have no {found.metric} on {table.problem}"


def _of_edges(found: Comparison) -> Iterator[str]:
    edges = defaultdict(list)
    for table in found.problems:
        for row in table.rows:
            for parameter in row.edge:
                edges[row.value, parameter].append(table.problem)
    if edges:
        those = (
            f"{parameter} of {value} {on_problems(problems, found)}"
            for (value, parameter), problems in edges.items()
        )
        yield f"the best value is among the outermost that were tried (◇): {'; '.join(those)}"


def _of_ties(found: Comparison, sweeps: Sequence[ComparedSweep]) -> Iterator[str]:
    """Yield where the runs of all seeds differ and have the same finite value of the metric."""
    tied = defaultdict(list)
    for table in found.problems:
        for row in table.rows:
            if row.is_tied and not row.constant and row.median is not None:
                tied[row.value, row.median].append(table.problem)
    if not tied:
        return
    every = {_between_looks(config) for sweep in sweeps for config in sweep.configs}
    is_counted = found.metric == STEPS_TO_TARGET and len(every) == 1 and every != {None}
    grid = f" (evaluations every {every.pop()} steps)" if is_counted else ""
    those = [
        f"{value} {on_problems(on, found)}, {number_text(median)}" for (value, median), on in tied.items()
    ]
    more = f"; {len(those) - MOST_NAMED} more" * (len(those) > MOST_NAMED)
    yield f"all seeds have the same {found.metric}{grid}: {'; '.join(those[:MOST_NAMED])}{more}"


def _between_looks(config: Mapping[str, Any]) -> int | None:
    """Return the steps between two evaluations that a target looks at; None where it looks at every step."""
    stop, evaluate = (config.get(key) or {} for key in ("stop", "evaluate"))
    every: int | None = evaluate.get("every") if stop.get("metric") else None
    return every


def _of_seeds(found: Comparison) -> Iterator[str]:
    constant = defaultdict(list)
    for table in found.problems:
        for row in table.rows:
            if row.constant and row.median is not None:
                constant[row.value].append(table.problem)
    if equal := [table.problem for table in found.problems if changes_nothing(table)]:
        yield f"the seed changes nothing {on_problems(equal, found)}: all its runs are one observation"
    for value, problems in constant.items():
        if others := [problem for problem in problems if problem not in equal]:
            yield f"the seed changes nothing for {value} {on_problems(others, found)}: its runs are one observation"
    counts = [row.n for table in found.problems for row in table.rows if not row.constant]
    counts += [row.difference.n for table in found.problems for row in table.rows if row.difference]
    if not counts or all(table.same_seeds for table in found.problems):
        return
    # Holm's correction multiplies the least p-value by the number of comparisons.
    tested = sum(row.separable is not None for table in found.problems for row in table.rows)
    least = max(LEAST_SEEDS, math.ceil(math.log2(2 * max(tested, 1) / SIGNIFICANCE)))
    fewest = min(counts)
    if fewest < least:
        among = f" among {tested} comparisons" if tested > 1 else ""
        interval = f"an interval needs {LEAST_SEEDS}, " if fewest < LEAST_SEEDS else ""
        yield f"{counted(fewest, 'seed')}: {interval}the test needs {least} to tell a difference from chance{among}"
