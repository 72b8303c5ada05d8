"""A comparison in words: what is better, and what cannot be told apart."""

from collections.abc import Iterator, Sequence

from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.comparison import Comparison, ComparisonRow, ProblemTable
from optrun.analysis.comparison_words import number_text, on_problems
from optrun.analysis.overall import MOST_NAMED, MOST_VALUES, best_of, conclusion, few_names, over_problems


def verdict(found: Comparison, sweeps: Sequence[ComparedSweep]) -> str:
    """Return what a comparison shows, in sentences."""
    lower = f"{'higher' if found.goal == 'maximize' else 'lower'} is better"
    if metrics := {sweep.plan.metric for sweep in sweeps} - {found.metric}:
        lower += f"; selected by {', '.join(sorted(metrics))}"
    tables = found.problems
    if len(tables) == 1:
        return f"On {tables[0].problem}, by {found.metric} ({lower}): {_of_problem(tables[0], found)}"
    if not any(map(best_of, tables)):
        return f"Over {len(tables)} problems, by {found.metric}: no setting has a finite median."
    first, *others = over_problems(found)
    sentences = [f"Over {len(tables)} problems, by {found.metric} ({lower}), {first}", *others]
    return ". ".join([*sentences, *_left_out(found), *conclusion(found)]) + "."


def _left_out(found: Comparison) -> Iterator[str]:
    """Yield which values are in no ranking over the problems, and why."""
    ranked = {rank.value for rank in found.ranking}
    whys = {}
    for value in dict.fromkeys(row.value for table in found.problems for row in table.rows):
        if value in ranked:
            continue
        rows = {table.problem: {row.value: row for row in table.rows}.get(value) for table in found.problems}
        lacking = [problem for problem, row in rows.items() if row is None]
        pruned = [problem for problem, row in rows.items() if row is not None and row.pruned is not None]
        found_there = (("no result", lacking), ("pruned", pruned))
        why = [f"{what} {on_problems(those, found)}" for what, those in found_there if those]
        if why:
            whys[value] = " and ".join(why)
    if not whys:
        return
    words = [f"{value} ({why})" for value, why in list(whys.items())[:MOST_NAMED]]
    words += [f"{len(whys) - MOST_NAMED} more"] * (len(whys) > MOST_NAMED)
    if ranked:
        yield f"The ranking is over values with a result on every problem; left out: {', '.join(words)}"
    else:
        yield f"There is no ranking, since fewer than two values have a result on every problem: {', '.join(words)}"
    if ranked and found.baseline in whys:
        yield f"The baseline {found.baseline} is left out, so that there is no P(improvement over {found.baseline})"


def _of_problem(table: ProblemTable, found: Comparison) -> str:
    best = table.rows[0]
    if best.median is None:
        return "no setting has a finite median."
    best_ones = best_of(table)
    have = "has the best median" if len(best_ones) == 1 else "have the best median"
    sentences = [f"{few_names(best_ones)} {have}, {number_text(best.median)}{_interval(best.low, best.high)}"]
    for end, is_better in (("better", True), ("worse", False)):
        rows = [row for row in table.rows if row.separable and found.is_better(row) is is_better]
        shown = rows if len(rows) <= MOST_VALUES else rows[:MOST_NAMED]
        sentences += [f"{row.value} is {end} than {found.baseline} {_difference(row)}" for row in shown]
        if more := len(rows) - len(shown):
            sentences.append(f"{more} more are {end}")
    alike = [row.value for row in table.rows if row.separable is False]
    if alike:
        sentences.append(f"Not told apart from {found.baseline}: {few_names(alike)}")
    return ". ".join(sentences) + "."


def _difference(row: ComparisonRow) -> str:
    assert row.difference is not None
    of = row.difference
    amount = "" if not of.median else f"by {number_text(abs(of.median))} "
    return f"{amount}(median of {of.n} seeds, p = {of.p:.2g} corrected)"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{number_text(low)}, {number_text(high)}]"
