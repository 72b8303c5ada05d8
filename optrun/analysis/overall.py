"""A comparison over several problems in words: where the best medians are, and what is better overall."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median
from typing import TypeVar

from optrun.analysis.comparison import Comparison, ProblemTable, Rank
from optrun.analysis.selection import BY_SWEEP, paths_of, title_of
from optrun.analysis.statistics import IntervalEstimate

MOST_NAMED = 3
"""The most values that a sentence names, where there are more than MOST_VALUES."""
MOST_VALUES = 5

_T = TypeVar("_T")


def over_problems(found: Comparison) -> Iterator[str]:
    """Yield the sentences of a comparison over problems, but for what its ranking leaves out."""
    yield _best_medians(found)
    compared = [rank for rank in found.ranking if rank.probability_of_improvement is not None]
    shown = compared if len(compared) <= MOST_VALUES else compared[:MOST_NAMED]
    for rank in shown:
        assert rank.probability_of_improvement is not None
        better, worse = _differing(found, rank.value)
        yield (
            f"{rank.value}: P(improvement over {found.baseline}) {_estimate(rank.probability_of_improvement)}; "
            f"beyond chance better on {better}, worse on {worse}"
        )
    if rest := compared[len(shown) :]:
        counts = [_differing(found, rank.value) for rank in rest]
        yield (
            f"Of {len(rest)} more, {sum(better > 0 for better, _ in counts)} are beyond chance better on a problem, "
            f"{sum(worse > 0 for _, worse in counts)} worse"
        )


def conclusion(found: Comparison) -> Iterator[str]:
    """Yield which values are better than the baseline overall, or that none is, and by how much.

    A value is better if the interval of P(improvement) says so and it is better beyond chance on more problems than it
    is worse on.
    """
    compared = [rank for rank in found.ranking if rank.probability_of_improvement is not None]
    if not compared:
        return
    better = [rank for rank in compared if _direction(found, rank) > 0]
    worse = [rank for rank in compared if _direction(found, rank) < 0]
    if better:
        yield f"Overall, {_names(better)} better than {found.baseline}: {_amounts(found, better, better=True)}"
    elif len(worse) == len(compared):
        yield f"Overall, {found.baseline} is the best: {_names(worse)} worse, {_amounts(found, worse, better=False)}"
    else:
        scores = [f"{rank.score:.2f} ({rank.value})" for rank in _few(found.ranking)]
        also = f", and {_names(worse)} worse" if worse else ""
        yield (
            f"Overall, no {_noun(found)} is better than {found.baseline} beyond chance{also}: "
            f"the best scores are {', '.join(scores)}"
        )


def few_names(names: Sequence[str]) -> str:
    """Return names as a list in a sentence; of many the first ones, and how many more there are."""
    shown = _few(names)
    *first, last = [*shown, f"{len(names) - len(shown)} more"] if len(shown) < len(names) else shown
    return f"{', '.join(first)} and {last}" if first else last


def best_of(table: ProblemTable) -> list[str]:
    """Return the values with the best median of a problem: several where it is the same."""
    best = table.rows[0].median
    return [row.value for row in table.rows if best is not None and row.median == best]


def _few(items: Sequence[_T]) -> Sequence[_T]:
    return items if len(items) <= MOST_VALUES else items[:MOST_NAMED]


def _best_medians(found: Comparison) -> str:
    counts = Counter(tuple(best_of(table)) for table in found.problems)
    none = counts.pop((), 0)
    alone = [(names[0], count) for names, count in counts.most_common() if len(names) == 1]
    shown = _few(alone)
    parts = [f"that of {name} on {count}" for name, count in shown]
    if rest := alone[len(shown) :]:
        parts.append(f"those of {len(rest)} others on {sum(count for _, count in rest)}")
    said = [f"the best median is {', '.join(parts)}"] if parts else []
    for names, count in counts.most_common():
        if len(names) > 1:
            said.append(f"{few_names(names)} tie {'' if parts else 'for the best median '}on {count}")
    if none:
        said.append(f"none is finite on {none}")
    return "; ".join(said)


def _direction(found: Comparison, rank: Rank) -> int:
    """Return 1 if a value is better than the baseline overall, -1 if it is worse, 0 if that is not shown."""
    chance = rank.probability_of_improvement
    assert chance is not None
    low, high = (chance.value, chance.value) if chance.low is None else (chance.low, chance.high)
    better, worse = _differing(found, rank.value)
    assert high is not None
    return int(low > 0.5 and better > worse) - int(high < 0.5 and worse > better)


def _names(ranks: Sequence[Rank]) -> str:
    return f"{few_names([rank.value for rank in ranks])} {'is' if len(ranks) == 1 else 'are'}"


def _amounts(found: Comparison, ranks: Sequence[Rank], *, better: bool) -> str:
    """Return by how much values differ from the baseline: relative differences, or scores where these say nothing."""
    shown = _few(ranks)
    relative = [_relative(found, rank.value) for rank in shown]
    known = [each for each in relative if each is not None and 0 < abs(each) < 10]
    is_lower = better is (found.goal == "minimize")
    if len(known) == len(shown) and all((each < 0) is is_lower for each in known):
        parts = few_names([f"{_percent(each)} %" for each in known])
        way = "lower" if is_lower else "higher"
        return f"{found.metric} is {parts} {way}, in the median over {len(found.problems)} problems"
    own = next(rank.score for rank in found.ranking if rank.value == found.baseline)
    return f"score {few_names([f'{rank.score:.2f}' for rank in shown])}, that of {found.baseline} {own:.2f}"


def _relative(found: Comparison, value: str) -> float | None:
    """Return the median over problems of the difference to the baseline, as a part of the baseline's median.

    None where one has none.
    """
    parts = []
    for table in found.problems:
        rows = {row.value: row for row in table.rows}
        own, base = rows[value].difference, rows[found.baseline].median
        if own is None or own.median is None or not base:
            return None
        parts.append(own.median / abs(base))
    return median(parts)


def _percent(part: float) -> str:
    percent = 100 * abs(part)
    return f"{percent:.2g}" if percent < 10 else f"{percent:.0f}"


def _noun(found: Comparison) -> str:
    if len(paths_of(found.by)) > 1:
        return "combination"
    return BY_SWEEP if found.by == BY_SWEEP else title_of(found.by)


def _differing(found: Comparison, value: str) -> tuple[int, int]:
    rows = [row for table in found.problems for row in table.rows if row.value == value and row.separable]
    better = sum(found.is_better(row) for row in rows)
    return better, len(rows) - better


def _estimate(estimate: IntervalEstimate) -> str:
    interval = "" if estimate.low is None else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f}{interval}"
