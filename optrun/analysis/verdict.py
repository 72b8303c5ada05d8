"""A comparison in words: what is better, what cannot be told apart, and what to be careful about."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.comparison import Comparison, ComparisonRow, ProblemTable
from optrun.analysis.leaderboard import worst
from optrun.analysis.statistics import LEAST_FOR_INTERVAL, LEAST_PAIRS, SIGNIFICANCE, IntervalEstimate
from optrun.errors import counted

TEST = "test_"
"""What the names of figures of the test data begin with."""


def verdict(found: Comparison, sweeps: Sequence[ComparedSweep]) -> str:
    """Return what a comparison shows, in sentences."""
    lower = f"{'higher' if found.goal == 'maximize' else 'lower'} is better"
    if others := {sweep.plan.metric for sweep in sweeps} - {found.metric}:
        lower += f"; selected by {', '.join(sorted(others))}"
    tables, ranking = found.problems, found.ranking
    if len(tables) == 1:
        return f"On {tables[0].problem}, by {found.metric} ({lower}): {_of_problem(tables[0], found)}"
    wins = Counter(table.rows[0].value for table in tables if table.rows[0].median is not None)
    if not wins:
        return f"Over {len(tables)} problems, by {found.metric}: no setting has a finite median."
    sentences = [
        f"Over {len(tables)} problems, by {found.metric} ({lower}), "
        + "the best median is "
        + ", ".join(f"that of {value} on {count}" for value, count in wins.most_common())
    ]
    for rank in ranking:
        if rank.probability_of_improvement is not None:
            chance = _estimate(rank.probability_of_improvement)
            better, worse = _differing(found, rank.value)
            sentences.append(
                f"{rank.value}: P(improvement over {found.baseline}) {chance}; beyond chance better on {better}, "
                f"worse on {worse}"
            )
    return ". ".join(sentences) + "."


def _of_problem(table: ProblemTable, found: Comparison) -> str:
    best = table.rows[0]
    if best.median is None:
        return "no setting has a finite median."
    sentences = [f"{best.value} has the best median, {_number(best.median)}{_interval(best.low, best.high)}"]
    for row in table.rows:
        if row.separable:
            assert row.difference is not None
            end = "better" if found.is_better(row) else "worse"
            sentences.append(f"{row.value} is {end} than {found.baseline} {_difference(row)}")
    alike = [row.value for row in table.rows if row.separable is False]
    if alike:
        sentences.append(f"Not told apart from {found.baseline}: {', '.join(alike)}")
    return ". ".join(sentences) + "."


def _differing(found: Comparison, value: str) -> tuple[int, int]:
    rows = [row for table in found.problems for row in table.rows if row.value == value and row.separable]
    better = sum(found.is_better(row) for row in rows)
    return better, len(rows) - better


def _difference(row: ComparisonRow) -> str:
    assert row.difference is not None
    of = row.difference
    amount = "" if of.median is None else f"by {_number(abs(of.median))} "
    return f"{amount}(median of {of.n} seeds, p = {of.p:.2g} corrected)"


def _number(value: float) -> str:
    return format(value, ".4g")


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{_number(low)}, {_number(high)}]"


def _estimate(estimate: IntervalEstimate) -> str:
    interval = "" if estimate.low is None else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f}{interval}"


def cautions(found: Comparison, sweeps: Sequence[ComparedSweep]) -> Iterator[str]:
    """Yield what may mislead: selection on the reported seeds or test data, few seeds, edges, unequal budgets."""
    rows = [(table, row) for table in found.problems for row in table.rows]
    if not all(row.confirmed for _, row in rows):
        yield (
            "the settings were selected on the seeds that are reported, which favours what had more trials: "
            "sweep.confirm runs the best ones on fresh seeds"
        )
    for metric in sorted({sweep.plan.metric for sweep in sweeps}):
        if metric.removeprefix("average_").startswith(TEST):
            yield (
                f"the settings were selected by {metric}, on the test data: problem.validation_fraction and "
                "a metric val_… select on others"
            )
    yield from _of_seeds(found)
    yield from _of_edges(found)
    for table in found.problems:
        budgets = {row.trials for row in table.rows}
        if len(budgets) > 1:
            yield f"{table.problem}: {min(budgets)} to {max(budgets)} settings were tried, not equally many of each"
            break
    everywhere = {row.value for _, row in rows}
    for table in found.problems:
        missing = everywhere - {row.value for row in table.rows}
        if missing:
            yield f"{table.problem}: no result of {', '.join(sorted(missing))}, left out of the ranking"
    for table, row in rows:
        if (
            row.value != found.baseline
            and row.difference is None
            and any(r.value == found.baseline for r in table.rows)
        ):
            yield f"{row.value} and {found.baseline} have no seed in common on {table.problem}: not tested"
        if row.n and row.diverged == row.n:
            yield f"{row.value} {worst(found.metric)} with all seeds on {table.problem}"
    steps = {run.config.get("steps") or run.config.get("epochs") for sweep in sweeps for run in sweep.runs}
    if len(steps) > 1:
        yield "the runs have different numbers of steps"
    waiting = sum(not run.status.final for sweep in sweeps for run in sweep.runs)
    if waiting:
        yield f"{counted(waiting, 'run')} of the sweeps have not ended"


def _of_edges(found: Comparison) -> Iterator[str]:
    edges = defaultdict(list)
    for table in found.problems:
        for row in table.rows:
            for parameter in row.edge:
                edges[row.value, parameter].append(table.problem)
    if edges:
        those = (
            f"{parameter} of {value} {_on(problems, found)}" for (value, parameter), problems in edges.items()
        )
        yield f"the best value is at the edge of what was tried: {'; '.join(those)}"


def _of_seeds(found: Comparison) -> Iterator[str]:
    if equal := [table.problem for table in found.problems if table.same_seeds]:
        yield f"the seed changes nothing {_on(equal, found)}: all its runs are one observation"
    counts = [row.n for table in found.problems if not table.same_seeds for row in table.rows]
    if not counts:
        return
    fewest = min(counts)
    if fewest < LEAST_FOR_INTERVAL:
        yield f"{counted(fewest, 'seed')}: an interval needs {LEAST_FOR_INTERVAL}, a test {LEAST_PAIRS}"
        return
    # Holm's correction multiplies the least p-value by the number of comparisons.
    tested = sum(row.separable is not None for table in found.problems for row in table.rows)
    least = max(LEAST_PAIRS, math.ceil(math.log2(2 * max(tested, 1) / SIGNIFICANCE)))
    if fewest < least:
        among = f" among {tested} comparisons" if tested > 1 else ""
        yield f"{fewest} seeds: the test needs {least} to tell a difference from chance{among}"


def _on(problems: Iterable[str], found: Comparison) -> str:
    names = list(problems)
    if len(names) == len(found.problems) > 1:
        return "on all problems"
    return f"on {', '.join(names)}" if len(names) <= 3 else f"on {len(names)} problems"
