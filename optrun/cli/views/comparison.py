"""A comparison of sweeps: the verdict, the ranking, and a table for each problem."""

import csv
import json as json_module
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from optrun.analysis.comparison import Comparison, ComparisonRow, ProblemTable
from optrun.analysis.comparison_words import changes_nothing, noise_in_words
from optrun.analysis.leaderboard import worst
from optrun.analysis.selection import own_paths, title_of
from optrun.analysis.untrained import untrained_in_words
from optrun.api.comparisons import compare
from optrun.cli.commands.answers import Form
from optrun.cli.text.console import console, emit
from optrun.cli.text.setting_table import Labels, settings_table
from optrun.cli.text.tables import Column, TableLayout
from optrun.config.same_problem import tells_problem
from optrun.errors import printable
from optrun.store.locate import find_whole

EDGE, BETTER, WORSE = "◇", "✓", "✗"
LATEX_SPECIAL = {each: f"\\{each}" for each in "&%$#_{}"} | {
    "◇": r"$\diamond$",
    "✓": r"\checkmark",
    "✗": r"$\times$",
}


def print_comparison(
    sweeps: Sequence[Path], by: str | None, baseline: str | None, metric: str | None, form: Form
) -> None:
    """Compare sweeps and print the result on stdout."""
    found = compare(
        *(find_whole(each, "compare") for each in sweeps), by=by, baseline=baseline, metric=metric
    )
    _PRINTERS[form](found)


def _print_text(found: Comparison) -> None:
    emit(Text(printable(found.verdict)))
    for warning in found.warnings:
        emit(Text(printable(f"careful: {warning}"), "yellow"))
    tables = _tables(found)
    for each in tables:
        emit(Text(), Text(printable(each.title), "bold"))
        if each.fits(console().width):
            emit(each.fitting())
        else:
            emit(replace(each, settings=[{}] * len(each.settings)).fitting())
            names = map(str, each.before[0].cells)
            for name, setting in zip(names, each.settings, strict=True):
                emit(Text(printable(f"{name}: {Labels(each.settings).text(setting)}"), "dim"))
    marks = [
        f"{mark} {meaning}"
        for mark, meaning in (
            (BETTER, f"better than {found.baseline} beyond chance"),
            (WORSE, f"worse than {found.baseline} beyond chance"),
            (EDGE, "among the outermost values that were tried"),
        )
        if any(mark in str(cell) for each in tables for column in each.after for cell in column.cells)
    ]
    if marks:
        emit(Text(), Text(printable("   ".join(marks)), "dim"))


@dataclass(frozen=True)
class _Table:
    """A table with settings between other columns."""

    title: str
    before: Sequence[Column]
    settings: Sequence[Mapping[str, Any]]
    after: Sequence[Column]

    @property
    def columns(self) -> list[Column]:
        columns = [*self.before, *Labels(self.settings).columns(self.settings), *self.after]
        return [column for column in columns if not column.is_empty]

    def fits(self, width: int) -> bool:
        """Whether the table without what can be spared has so much room."""
        columns = [column for column in self.columns if not column.spare]
        return TableLayout(columns, [column.value_width for column in columns]).fits(width)

    def fitting(self) -> Table:
        return settings_table(self.before, Labels(self.settings), self.settings, self.after)


def _tables(found: Comparison) -> list[_Table]:
    tables = [_of_problem(table, found) for table in found.problems]
    if found.ranking:
        title = f"over {len(found.problems)} problems"
        if found.critical_difference is not None:
            title += f" (mean ranks closer than {found.critical_difference:.2f} are not separable)"
        tables.insert(0, _Table(title, _ranking(found), [{}] * len(found.ranking), []))
    return tables


def _beside(table: ProblemTable) -> str:
    """Return the spread over seeds, and what predicts without training."""
    noise = noise_in_words(table)
    spread = (
        "the seed changes nothing" if changes_nothing(table) else f"noise over seeds: {noise}" * bool(noise)
    )
    words = [each for each in (spread, untrained_in_words(table.untrained)) if each]
    return f" ({'; '.join(words)})" if words else ""


def _ranking(found: Comparison) -> list[Column]:
    ranks = found.ranking
    title = f"P(better than {found.baseline})"
    columns = [
        Column(title_of(found.by), [printable(rank.value) for rank in ranks]),
        Column("score", [f"{rank.score:.2f}{_interval(rank.low, rank.high, '.2f')}" for rank in ranks]),
        Column("mean rank", [f"{rank.average_rank:.2f}" for rank in ranks], right=True),
        Column(
            "profile",
            ["" if rank.profile_score is None else f"{rank.profile_score:.2f}" for rank in ranks],
            right=True,
        ),
        Column(
            title,
            [
                ""
                if (of := rank.probability_of_improvement) is None
                else f"{of.value:.2f}{_interval(of.low, of.high, '.2f')}"
                for rank in ranks
            ],
        ),
        Column("lr sensitivity", [_part(rank.lr_sensitivity) for rank in ranks], right=True),
    ]
    return [column for column in columns if not column.is_empty]


def _of_problem(table: ProblemTable, found: Comparison) -> _Table:
    rows = table.rows
    columns = [
        Column("edge", [EDGE if row.edge else "" for row in rows]),
        Column("n", [str(row.n) for row in rows], right=True),
        Column("median", [_number(row.median, found) for row in rows], right=True),
        Column("95 % interval", [_interval(row.low, row.high).strip() for row in rows], spare=True),
        Column("IQM", [_number(row.iqm, found) for row in rows], right=True, spare=True),
        Column(f"to {found.baseline}", [_difference(row) for row in rows]),
        Column("p", [f"{_p(row)} {_mark(row, found)}".strip() for row in rows]),
        Column(
            "at defaults",
            ["" if row.at_defaults is None else _number(row.at_defaults, found) for row in rows],
            right=True,
            spare=True,
        ),
        Column("lr sensitivity", [_part(row.lr_sensitivity) for row in rows], right=True, spare=True),
        Column("speed-up", [_speedup(row) for row in rows], right=True, spare=True),
        Column(worst(found.metric), [str(row.diverged) if row.diverged else "" for row in rows], right=True),
        *(
            Column(
                f"after {trials}",
                [_number(row.after[trials], found) if trials in row.after else "" for row in rows],
                right=True,
                spare=True,
            )
            for trials in dict.fromkeys(trials for row in rows for trials in row.after)
        ),
    ]
    return _Table(
        f"{table.problem}{_beside(table)}",
        [Column(title_of(found.by), [printable(row.value) for row in rows])],
        [_of_value(row, found) for row in rows],
        [column for column in columns if not column.is_empty],
    )


def _of_value(row: ComparisonRow, found: Comparison) -> dict[str, object]:
    """Return the setting without what has a column of its own: the problem, and what is compared."""
    left_out = own_paths(found.by)
    return {
        path: value for path, value in row.setting.items() if path not in left_out and not tells_problem(path)
    }


def _number(value: float | None, found: Comparison) -> str:
    return worst(found.metric) if value is None else format(value, ".4g")


def _interval(low: float | None, high: float | None, form: str = ".4g") -> str:
    return "" if low is None or high is None else f" [{low:{form}}, {high:{form}}]"


def _difference(row: ComparisonRow) -> str:
    of = row.difference
    return "" if of is None or of.median is None else f"{of.median:+.3g}{_interval(of.low, of.high, '.3g')}"


def _part(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _speedup(row: ComparisonRow) -> str:
    if row.speedup is None:
        return ""
    return "not reached" if row.speedup.ratio is None else f"{row.speedup.ratio:.3g}×"


def _p(row: ComparisonRow) -> str:
    return "" if row.difference is None or row.difference.p is None else f"{row.difference.p:.2g}"


def _mark(row: ComparisonRow, found: Comparison) -> str:
    if not row.separable:
        return ""
    return BETTER if found.is_better(row) else WORSE


def _print_json(found: Comparison) -> None:
    print(json_module.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False))


def _print_csv(found: Comparison) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    paths = list(
        dict.fromkeys(
            path
            for of in found.problems
            for row in of.rows
            for path in row.setting
            if not tells_problem(path)
        )
    )
    names = ["n", "median", "iqm", "low", "high", "separable", "diverged", "trials", "confirmed"]
    names += ["at_defaults", "lr_sensitivity"]
    differences = ["median", "low", "high", "p", "n"]
    of_all = ["score", "average_rank"]
    ranks = {rank.value: rank for rank in found.ranking}
    heads = [*names, "speedup", *(f"difference_{name}" for name in differences), *of_all, "edge", *paths]
    table.writerow(["metric", "goal", "baseline", "problem", "value", *heads])
    for of in found.problems:
        for row in of.rows:
            table.writerow(
                [
                    *(found.metric, found.goal, found.baseline, of.problem, row.value),
                    *(getattr(row, name) for name in names),
                    row.speedup and row.speedup.ratio,
                    *(row.difference and getattr(row.difference, name) for name in differences),
                    *((rank := ranks.get(row.value)) and getattr(rank, name) for name in of_all),
                    " ".join(row.edge),
                    *(_csv_value(row.setting[path]) if path in row.setting else "" for path in paths),
                ]
            )


def _csv_value(value: Any) -> str:
    """Return a value of a setting as exported tables have it: JSON, which YAML reads too."""
    return value if isinstance(value, str) else json_module.dumps(value, ensure_ascii=False)


def _print_markdown(found: Comparison) -> None:
    print(found.verdict, *(f"\n- careful: {warning}" for warning in found.warnings), sep="")
    for each in _tables(found):
        drawn = each.fitting()
        drawn.box, drawn.pad_edge, drawn.padding = box.MARKDOWN, True, (0, 1, 0, 1)
        print(f"\n**{each.title}**\n")
        emit(drawn)


def _print_latex(found: Comparison) -> None:
    print("% needs \\usepackage{booktabs, amssymb}")
    print(
        f"% {printable(found.verdict)}",
        *(f"% careful: {printable(each)}" for each in found.warnings),
        sep="\n",
    )
    for each in _tables(found):
        columns = each.columns
        print(f"% {each.title}")
        print(
            f"\\begin{{tabular}}{{{''.join('r' if column.right else 'l' for column in columns)}}}\n\\toprule"
        )
        print(_latex_row([column.title for column in columns]) + "\n\\midrule")
        for cells in zip(*(column.cells for column in columns), strict=True):
            print(_latex_row([str(cell) for cell in cells]))
        print("\\bottomrule\n\\end{tabular}\n")


def _latex_row(cells: Sequence[str]) -> str:
    escaped = ("".join(LATEX_SPECIAL.get(letter, letter) for letter in cell) for cell in cells)
    return " & ".join(escaped) + r" \\"


_PRINTERS: dict[Form, Callable[[Comparison], None]] = {
    Form.TEXT: _print_text,
    Form.JSON: _print_json,
    Form.CSV: _print_csv,
    Form.MARKDOWN: _print_markdown,
    Form.LATEX: _print_latex,
}
