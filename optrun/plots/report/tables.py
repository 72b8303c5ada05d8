"""The tables of a report: the ranking, the matrix of values and problems, the differences, each problem."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from optrun.analysis.comparison import Comparison, ComparisonRow, ProblemTable
from optrun.analysis.comparison_words import changes_nothing, noise_in_words
from optrun.analysis.leaderboard import worst
from optrun.analysis.selection import own_paths, short_name, title_of
from optrun.analysis.untrained import untrained_in_words
from optrun.config.same_problem import tells_problem
from optrun.config.yaml.writer import rounded
from optrun.plots.report.markup import Strip, Td, interval, numeric, shown, table, text_of

BETTER, WORSE, EDGE = "✓", "✗", "◇"
FOUR_TIMES = math.log(4.0)
"""The logarithm of the ratio to the best at which nothing is left of the colour of the best."""


def values_of(found: Comparison) -> list[str]:
    """Return what is compared, the best first: as ranked, then what the ranking leaves out."""
    ranked = [rank.value for rank in found.ranking]
    return list(dict.fromkeys([*ranked, *(row.value for of in found.problems for row in of.rows)]))


def id_of(place: int) -> str:
    """Return the id of the heading of a problem."""
    return f"problem-{place + 1}"


def mark(row: ComparisonRow, found: Comparison) -> str:
    """Return whether a row is better or worse than the baseline beyond chance; nothing where it is neither."""
    if not row.separable:
        return ""
    return BETTER if found.is_better(row) else WORSE


def ranking_table(found: Comparison) -> str:
    """Return the values over all problems: the score with its interval, ranks, profiles, probabilities."""
    scores, chances = Strip(0.0, 1.0), Strip(0.0, 1.0, 0.5)
    rows = []
    for rank in found.ranking:
        of = rank.probability_of_improvement
        rows.append(
            [
                Td(rank.value),
                scores.draw(rank.score, rank.low, rank.high),
                numeric(rank.score, ".2f"),
                Td(interval(rank.low, rank.high, ".2f")),
                numeric(rank.average_rank, ".2f"),
                Td("") if rank.profile_score is None else numeric(rank.profile_score, ".2f"),
                Td("") if of is None else chances.draw(of.value, of.low, of.high),
                Td("baseline", math.nan) if of is None else numeric(of.value, ".2f"),
                Td("" if of is None else interval(of.low, of.high, ".2f")),
                numeric(rank.lr_sensitivity, ".2f"),
            ]
        )
    heads = ["score", "", "95 % interval", "mean rank", "profile", f"P(better than {found.baseline})", "", ""]
    return table([title_of(found.by), *heads, "lr sensitivity"], rows, kind="ranking")


def ranks_note(found: Comparison) -> str:
    """Return which mean ranks are not separable."""
    if found.critical_difference is None:
        return ""
    return f'<p class="note">Mean ranks closer than {found.critical_difference:.2f} are not separable.</p>'


def matrix(found: Comparison) -> str:
    """Return the medians of all values on all problems, coloured by how near each is to the best."""
    of_problems = [{row.value: row for row in of.rows} for of in found.problems]
    rows = [
        [
            Td(value),
            *(
                _coloured(rows.get(value), of, found, id_of(place))
                for place, (of, rows) in enumerate(zip(found.problems, of_problems, strict=True))
            ),
        ]
        for value in values_of(found)
    ]
    return table([title_of(found.by), *(of.problem for of in found.problems)], rows, kind="matrix")


def _coloured(row: ComparisonRow | None, of: ProblemTable, found: Comparison, link: str) -> Td:
    if row is None:
        return Td("", math.nan)
    signs = " ".join(filter(None, [mark(row, found), EDGE if row.edge else ""]))
    median = worst(found.metric) if row.median is None else f"{row.median:.4g}"
    text = f"{median} ({row.n}) {signs}".rstrip()
    part = nearness(row, of, found)
    key = math.nan if row.median is None else row.median
    if part is None:
        return Td(text, key, link=link)
    title = f"{row.value} on {of.problem}: {part:.0%} of the way to the best"
    return Td(text, key, title=title, style=f"--near: {100 * part:.0f}%", link=link)


def nearness(row: ComparisonRow, of: ProblemTable, found: Comparison) -> float | None:
    """Return 1 for the best median of a problem, and down to 0 for one that is far from it; None without a median.

    1 - log(ratio to the best) / log 4 if lower is better and all medians are positive, else the place between the
    worst median and the best.
    """
    medians = [each.median for each in of.rows if each.median is not None]
    if row.median is None or not medians:
        return None
    if found.goal == "minimize" and min(medians) > 0:
        return max(0.0, 1 - math.log(row.median / min(medians)) / FOUR_TIMES)
    best, worst = (max, min) if found.goal == "maximize" else (min, max)
    span = best(medians) - worst(medians)
    return 1.0 if not span else (row.median - worst(medians)) / span


def pairwise_table(found: Comparison) -> str:
    """Return the differences to the baseline on every problem, each drawn in units of the largest of its problem."""
    rows = []
    for of in found.problems:
        differences = [row.difference for row in of.rows if row.difference is not None]
        ends = [end for each in differences for end in (each.median, each.low, each.high)]
        axis = Strip.over(ends, 0.0)
        for row in of.rows:
            if row.value == found.baseline or (each := row.difference) is None:
                continue
            rows.append(
                [
                    Td(of.problem),
                    Td(row.value),
                    axis.draw(each.median, each.low, each.high),
                    numeric(each.median, "+.3g"),
                    Td(interval(each.low, each.high, ".3g")),
                    Td(str(each.n), each.n),
                    numeric(each.p, ".2g"),
                    Td(mark(row, found)),
                ]
            )
    heads = ["problem", title_of(found.by), "difference", "", "95 % interval", "pairs", "p, corrected", " "]
    return table(heads, rows) if rows else ""


def problem_table(of: ProblemTable, found: Comparison) -> str:
    """Return the rows of a problem as `optrun compare` prints them."""
    settings = [_parameters(row, found) for row in of.rows]
    paths = list(dict.fromkeys(path for setting in settings for path in setting))
    names = [short_name(path) for path in paths]
    heads = [name if names.count(name) == 1 else path for name, path in zip(names, paths, strict=True)]
    gone = worst(found.metric)
    trials = list(dict.fromkeys(count for row in of.rows for count in row.after))
    axis = Strip.over(end for row in of.rows for end in (row.median, row.low, row.high))
    rows = [
        [
            Td(row.value),
            Td(str(row.n), row.n),
            axis.draw(row.median, row.low, row.high),
            numeric(row.median, missing=gone),
            Td(interval(row.low, row.high)),
            numeric(row.difference.median if row.difference else None, "+.3g"),
            numeric(row.difference.p if row.difference else None, ".2g"),
            Td(mark(row, found)),
            *(_count(count) for count in (row.diverged, row.missing, row.pruned)),
            *(_setting(setting, path, at_edge=path in row.edge) for path in paths),
            numeric(row.at_defaults),
            numeric(row.lr_sensitivity, ".2f"),
            _speedup(row),
            numeric(row.iqm, missing=gone),
            Td(str(row.trials), row.trials),
            *(
                numeric(row.after[count], missing=gone) if count in row.after else Td("", math.nan)
                for count in trials
            ),
        ]
        for row, setting in zip(of.rows, settings, strict=True)
    ]
    results = ["n", found.metric, "median", "95 % interval", f"to {found.baseline}", "p", " "]
    counts = [
        "at defaults",
        "lr sensitivity",
        "speed-up",
        "IQM",
        "settings tried",
        *(f"after {count}" for count in trials),
    ]
    return table([title_of(found.by), *results, gone, "no result", "pruned at", *heads, *counts], rows)


def _speedup(row: ComparisonRow) -> Td:
    if (of := row.speedup) is None:
        return Td("", math.nan)
    if of.ratio is None:
        return Td("not reached", 0.0)  # the slowest
    title = f"{of.target:.4g} in {of.steps:,} steps, the baseline in {of.baseline_steps:,}"
    return Td(f"{of.ratio:.3g}×", of.ratio, title=title)


def _count(count: int | None) -> Td:
    return Td(str(count), count) if count else Td("", math.nan)


def _parameters(row: ComparisonRow, found: Comparison) -> Mapping[str, Any]:
    left_out = own_paths(found.by)
    return {
        path: value for path, value in row.setting.items() if path not in left_out and not tells_problem(path)
    }


def _setting(setting: Mapping[str, Any], path: str, *, at_edge: bool) -> Td:
    if path not in setting:
        return Td("")
    value, sign = setting[path], f" {EDGE}" if at_edge else ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Td(f"{rounded(value, 4) if isinstance(value, float) else value}{sign}", float(value))
    return Td(text_of(value) + sign, title=json.dumps(value) if isinstance(value, Mapping) else "")


def legend(found: Comparison) -> str:
    """Return what the colours and marks mean."""
    words = [
        "median (number of seeds)",
        f"{BETTER} better, {WORSE} worse than {found.baseline} beyond chance",
        f"{EDGE} a parameter among the outermost values that were tried",
    ]
    scale = ' · <span class="scale"></span> far from the best … the best of its problem'
    return f'<p class="legend">{shown(" · ".join(words))}{scale}</p>'


def noise_note(of: ProblemTable) -> str:
    """Return the spread over seeds, and what predicts without training, in words."""
    noise = noise_in_words(of)
    spread = (
        "the seed changes nothing"
        if changes_nothing(of)
        else f"standard deviation over seeds: {noise}" * bool(noise)
    )
    sentences = [each for each in (spread, untrained_in_words(of.untrained)) if each]
    return " ".join(shown(f"{each[0].upper()}{each[1:]}.") for each in sentences)


def captioned(warnings: Sequence[str]) -> str:
    """Return what to be careful about, as a list whose long lines are folded."""
    lines = []
    for warning in warnings:
        head, _, tail = warning.partition(": ")
        if len(warning) > 260 and tail:
            inner = "".join(f"<li>{shown(each)}</li>" for each in tail.split("; "))
            lines.append(f"<li><details><summary>{shown(head)}</summary><ul>{inner}</ul></details></li>")
        else:
            lines.append(f"<li>{shown(warning)}</li>")
    return f'<ul class="careful">{"".join(lines)}</ul>' if lines else ""
