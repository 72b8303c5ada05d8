"""How the settings that a sweep draws are spread over its problems and over what is compared."""

from collections import Counter
from collections.abc import Sequence

from optrun.analysis.confirmation import ranking_of
from optrun.analysis.selection import NONE, value_at, varying_part
from optrun.config.same_problem import problem_key, tells_problem
from optrun.sweeps.plan.expand import Plan
from optrun.sweeps.plan.spaces import Dimension

MOST_NAMED = 3
"""The most cells that are named."""


def uneven_cells(plan: Plan) -> str:
    """Return in words how unequally draws are spread over problems and what is compared; empty if they are equal.

    It is also empty where problems are crossed with the draws, or where later draws depend on results.
    """
    drawn = [each for space in plan.method.spaces for each in space.dimensions]
    known = _problem_values(drawn)
    if not plan.swept.sweep.draws or plan.method.grows or not known:
        return ""
    said = _spread(plan, max(map(len, known.values())))
    how = f"; sweep.cross: [{', '.join(known)}] runs each draw on every problem"
    return f"problems are drawn like other parameters: {said}{how}" if said else ""


def _problem_values(dimensions: Sequence[Dimension]) -> dict[str, set[str]]:
    """Return the listed values of each path that tells problems apart, if there are two or more."""
    found: dict[str, set[str]] = {}
    for each in dimensions:
        for path in [] if each.is_continuous else filter(tells_problem, each.paths):
            values = [choice[path].plain() for choice in each.choices]
            found.setdefault(path, set()).update(
                problem_key({"problem": value}) if isinstance(value, dict) else repr(value)
                for value in values
            )
    return {path: values for path, values in found.items() if len(values) > 1}


def _spread(plan: Plan, least_problems: int) -> str:
    documents = plan.documents[:: plan.repeats]
    problems = ranking_of(plan).problems or [""] * len(documents)
    if (there := len(set(problems))) < least_problems:
        return f"{least_problems - there:,} of {least_problems:,} problems have no setting"
    confirm = plan.swept.sweep.confirm
    by = (confirm.by if confirm is not None else None) or varying_part(documents)
    values = [value_at(each, by) or NONE for each in documents] if by else [""] * len(documents)
    counts = Counter(zip(problems, values, strict=True))
    cells = [(problem, value) for problem in dict.fromkeys(problems) for value in dict.fromkeys(values)]
    least, most = min(counts.values()), max(counts.values())
    empty = [cell for cell in cells if cell not in counts]
    what = f"cells of problem and {by}" if by else "problems"
    if empty:
        names = ", ".join(" with ".join(filter(None, cell)) for cell in empty[:MOST_NAMED])
        more = ", …" if len(empty) > MOST_NAMED else ""
        return f"{len(empty):,} of {len(cells):,} {what} have no setting: {names}{more}"
    return f"the {len(cells):,} {what} have {least:,} to {most:,} settings each" if least < most else ""
