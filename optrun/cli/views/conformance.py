"""The ledger of other libraries' optimizers."""

import json as json_module
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from optrun.cli.text.console import emit, table
from optrun.errors import counted
from optrun.selftest.conformance import BOUND, ConformanceRow, Conformity, conformance

COLUMNS = ("optimizer", "counterpart", "version", "difference", "follows the paper", "why")


def print_conformance(
    names: Sequence[str], libraries: Sequence[str], steps: int, *, json: bool, md: bool
) -> bool:
    """Print how far counterparts are from the optimizers; return whether each difference is explained."""
    found: list[ConformanceRow] = []
    for row in conformance(names, libraries, steps):
        found.append(row)
        if sys.stderr.isatty():
            print(f"\r\x1b[K{row.rule} {row.counterpart}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    if json:
        document = {"steps": steps, "bound": BOUND, "rows": [row.to_dict() for row in found]}
        print(json_module.dumps(document, ensure_ascii=False, allow_nan=False, default=str))
    elif md:
        print(_markdown(found))
    else:
        made = table(*COLUMNS, right=("difference",))
        for row in found:
            made.add_row(*_cells(row))
        emit(made)
    counts = Counter(row.conformity for row in found)
    said = [f"{counts[each]} {each}" for each in Conformity if counts[each]]
    open = sum(not row.is_explained for row in found)
    said += [f"{counted(open, 'difference')} not yet explained"] if open else []
    print(", ".join(said), file=sys.stderr)
    return not open and not counts[Conformity.FAILED]


def _cells(row: ConformanceRow) -> tuple[str, ...]:
    difference = str(row.conformity) if row.difference is None else f"{row.difference:.1e}"
    return row.rule, row.counterpart, row.version, difference, _who(row), _why(row)


def _who(row: ConformanceRow) -> str:
    if row.conformity is Conformity.AGREES:
        return "both"
    return row.follows or ("not yet explained" if row.conformity is Conformity.DIFFERS else "")


def _why(row: ConformanceRow) -> str:
    if row.conformity is not Conformity.DIFFERS or row.difference_then is None:
        return row.why
    options = _options(row.agrees_with)
    shown = "agrees" if row.difference_then <= BOUND else "differs"
    return f"{row.why} ({shown} with {options}: {row.difference_then:.1e})".lstrip()


def _options(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={json_module.dumps(value)}" for name, value in values.items())


def _markdown(rows: Sequence[ConformanceRow]) -> str:
    lines = [f"| {' | '.join(COLUMNS)} |", f"| {' | '.join('---' for _ in COLUMNS)} |"]
    for row in rows:
        cells = [cell.replace("|", r"\|") for cell in _cells(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
