"""Matplotlib figures of a comparison over problems: performance profiles, and the ranking."""

from typing import TYPE_CHECKING, Any

import numpy as np

from optrun.analysis.comparison import Comparison
from optrun.analysis.statistics import cost_ratios, performance_profile
from optrun.arrays import Array
from optrun.errors import ConfigError
from optrun.plots.figure import legend_above, legend_label, legend_shape, new_picture, wrapped_label
from optrun.plots.look import COLOURS, GREY, Look, series_style

if TYPE_CHECKING:
    from optrun.plots.picture import Picture

MOST_RATIO = 4.0
"""The end of the axis of ratios."""

THICKEST, THINNEST = 2.0, 0.8
"""The widths of the first and the last line, so that equal lines can be seen below each other."""

ROW = 0.28
"""The height of a row of a ranking in inches."""


def profile_figure(found: Comparison, *, look: Look | None = None) -> "Picture":
    """Draw the performance profiles of what is compared.

        ρ(τ) = part of the problems with a median of at most τ times the best one

    Dolan & Moré (2002), arXiv cs/0102001. The legend has the area under each up to τ = 4, the best first. Raises
    ConfigError for a single problem, or where a median has no ratio to another.
    """
    look = look or Look()
    ratios = _ratios(found)
    ranks = sorted(found.ranking, key=lambda rank: -(rank.profile_score or 0.0))
    labels = [legend_label(f"{rank.value}  {rank.profile_score:.2f}", look) for rank in ranks]
    title = look.named(f"performance profiles over {len(found.problems)} problems, and their areas")
    with new_picture(look, look.inches(4.2, legend_shape(labels, look)[1] + 1)) as picture:
        axes = picture.subplots()
        at = np.unique([1.0, *ratios[ratios <= MOST_RATIO], MOST_RATIO])
        profiles = performance_profile(ratios, at)
        width = axes.plot([], [])[0].get_linewidth()
        widths = np.linspace(THICKEST, THINNEST, len(ranks)) * width
        for index, (rank, label) in enumerate(zip(ranks, labels, strict=True)):
            column = list(found.ranking).index(rank)
            style = {**series_style(index), "linewidth": widths[index]}
            axes.plot(at, profiles[:, column], drawstyle="steps-post", label=label, **style)
        axes.set_xlim(1, MOST_RATIO)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel(wrapped_label(f"τ: {found.metric}, times the best one of the problem"))
        axes.set_ylabel("part of the problems")
        legend_above(picture, *axes.get_legend_handles_labels(), title=title)
    return picture


def ranking_figure(found: Comparison, *, look: Look | None = None) -> "Picture":
    """Draw the score of what is compared with its 95 % interval, and beside it the mean rank, the best first.

    Raises ConfigError for a single problem.
    """
    look = look or Look()
    _check(found, "ranking")
    rows = np.arange(len(found.ranking))
    names = [wrapped_label(rank.value, look.characters // 3) for rank in found.ranking]
    with new_picture(look, look.inches(1.2, ROW / 0.23 * len(rows) + 1)) as picture:
        scores, ranks = picture.subplots(1, 2, sharey=True, width_ratios=(3, 1))
        for row, rank in zip(rows, found.ranking, strict=True):
            colour = GREY if rank.value == found.baseline else COLOURS[0]
            if rank.low is not None and rank.high is not None:
                scores.plot(
                    [rank.low, rank.high], [row, row], color=colour, linewidth=0.3 * look.font, alpha=0.5
                )
            scores.plot([rank.score], [row], color=colour, marker="o", linestyle="none")
            ranks.plot([rank.average_rank], [row], color=colour, marker="o", linestyle="none")
        height = 72 * 0.6 * picture.get_figheight() / len(rows)
        scores.set_yticks(rows, names, fontsize=min(look.font, height))
        scores.set_ylim(len(rows) - 0.4, -0.6)
        scores.set_xlim(-0.03, 1.03)
        scores.set_xlabel("score: 0 worst, 1 best median of a problem")
        ranks.set_xlim(0.8, len(rows) + 0.2)
        ranks.set_xlabel("mean rank")
        _whole_ticks(ranks)
        for axes in (scores, ranks):
            axes.tick_params(axis="y", length=0)
        title = look.named(
            f"{found.metric} over {len(found.problems)} problems; grey: the baseline, {found.baseline}"
        )
        if title:
            picture.suptitle(wrapped_label(title, look.characters), x=0.01, ha="left", fontsize=look.font)
    return picture


def _whole_ticks(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))


def _ratios(found: Comparison) -> Array:
    """Return the medians over the best one of their problem, `[problems, ranked values]`."""
    _check(found, "profile")
    if found.goal == "maximize":
        raise ConfigError(f"a profile is of what is minimized: {found.metric} is maximized")
    medians = []
    for table in found.problems:
        of = {row.value: row.median for row in table.rows}
        for rank in found.ranking:
            median = of[rank.value]
            if median is not None and median <= 0:
                raise ConfigError(
                    f"a profile is of ratios of positive values: {found.metric} of {rank.value} on {table.problem} "
                    f"is {median:g}"
                )
        medians.append([np.inf if of[rank.value] is None else of[rank.value] for rank in found.ranking])
    return cost_ratios(np.array(medians, np.float64))


def _check(found: Comparison, kind: str) -> None:
    if len(found.problems) < 2:
        raise ConfigError(f"a {kind} is over several problems, and there is one: {found.problems[0].problem}")
    if not found.ranking:
        raise ConfigError(f"a {kind} needs two values of {found.by} that have a result on every problem")
