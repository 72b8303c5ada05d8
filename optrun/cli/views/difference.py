"""`diff`: the differences between two runs."""

import json as json_module
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from optrun.analysis.best_run import find_numbered
from optrun.analysis.leaderboard import single
from optrun.analysis.run_difference import CurveDifference, Pair, RunDifference, run_difference
from optrun.cli.text.console import GAP, emit, quoted, suggest, table
from optrun.errors import printable
from optrun.store import Store


def print_difference(a: Path, b: Path, *, json: bool) -> bool:
    """Print the differences between two runs; return whether configs and results are identical."""
    named = find_numbered(a), find_numbered(b)
    paths = [f"{path}:{run}" if run is not None else path for path, run in named]
    with Store.open(named[0][0]) as one, Store.open(named[1][0]) as other:
        found = run_difference(one, other, (single(one, named[0][1]), single(other, named[1][1])))
    if json:
        print(json_module.dumps(_as_json(found), ensure_ascii=False, allow_nan=False))
        return found.identical
    emit(f"A  {printable(str(paths[0]))}\nB  {printable(str(paths[1]))}")
    for title, pairs in (
        ("config", found.config),
        ("summary", found.summary),
        ("environment", found.environment),
    ):
        if pairs:
            emit(Text(f"\n{title}", "bold"))
            emit(_pairs(pairs))
    if found.curves:
        emit(Text("\ncurves", "bold"))
        emit(_curves(found.curves))
    if found.params:
        emit(Text("\nfinal parameters, largest difference", "bold"))
        made = table("", "", "")
        for name, gap in found.params.items():
            made.add_row(
                "", Text(printable(name)), "in one only, or of another shape" if gap is None else f"{gap:.3g}"
            )
        emit(made)
    if found.same_results:
        emit(
            f"\n{'identical' if found.identical else 'identical results'}: every curve, parameter and metric"
        )
    else:
        suggest(f"curves {quoted(paths[0])} {quoted(paths[1])}")
    return found.identical


def _pairs(pairs: Mapping[str, Pair]) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("", "", "A", "B"):
        made.add_column(title, overflow="fold")
    for key, (one, other) in pairs.items():
        made.add_row("", Text(printable(key)), Text(_value(one), "red"), Text(_value(other), "green"))
    return made


def _curves(curves: list[CurveDifference]) -> Table:
    made = Table.grid(padding=(0, GAP, 0, 0))
    for column in range(3):
        made.add_column(no_wrap=column == 1, overflow="fold")
    for each in curves:
        parts = [f"{rows:,} more steps in {run}" for rows, run in zip(each.only, "AB", strict=True) if rows]
        text = Text("; ".join(parts))
        if each.values is not None:
            a, b = (f"{value:.9g}" for value in each.values)
            gap = f"; largest difference {each.greatest:.3g}"
            apart = Text.assemble(f"from step {each.step:,}: A ", (a, "red"), ", B ", (b, "green"), gap)
            text = Text("; ").join([apart, *map(Text, parts)])
        made.add_row("", Text(printable(each.name)), text)
    return made


def _value(value: Any) -> str:
    if isinstance(value, str):
        return printable(value)
    return printable(json_module.dumps(value, ensure_ascii=False))


def _as_json(found: RunDifference) -> dict[str, Any]:
    return {
        "identical": found.identical,
        "same_results": found.same_results,
        "config": found.config,
        "summary": found.summary,
        "environment": found.environment,
        "curves": [
            {
                "name": each.name,
                "first_step": each.step,
                "values": each.values and [_finite(value) for value in each.values],
                "greatest_difference": _finite(each.greatest),
                "only_a": each.only[0],
                "only_b": each.only[1],
            }
            for each in found.curves
        ],
        "params": {name: None if gap is None else _finite(gap) for name, gap in found.params.items()},
    }


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
