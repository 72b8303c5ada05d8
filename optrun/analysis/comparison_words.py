"""Words that several texts on a comparison have in common."""

from collections.abc import Iterable

from optrun.analysis.comparison import Comparison, ProblemTable


def number_text(value: float) -> str:
    """Return a figure as sentences have it."""
    return format(value, ".4g")


def on_problems(problems: Iterable[str], found: Comparison) -> str:
    """Return on which of the problems something is so."""
    names = list(problems)
    if len(names) == len(found.problems) > 1:
        return "on all problems"
    return f"on {', '.join(names)}" if len(names) <= 3 else f"on {len(names)} problems"


def changes_nothing(table: ProblemTable) -> bool:
    """Whether to say that the seed changes nothing; of runs that all diverged or missed it says nothing."""
    return table.same_seeds and any(row.median is not None for row in table.rows)


def noise_in_words(table: ProblemTable) -> str:
    """Return the standard deviation over seeds, from that of the steadiest value to that of the least steady one."""
    if table.noise_range is None:
        return ""
    least, most = (f"{each:.3g}" for each in table.noise_range)
    return least if least == most else f"{least} to {most}"
