"""Write the proof that optrun equals torch: `python -m tests.oracles.ledger` writes LEDGER.md beside this file."""

import multiprocessing
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from optrun.registry import optimizers
from tests.oracles import draws, rules, schedule_draws
from tests.oracles.schedule_differences import DIFFERENCES
from tests.oracles.schedules import SCHEDULES
from tests.oracles.schedules import label as schedule_label

LEDGER = Path(__file__).with_name("LEDGER.md")
DTYPES = ("float64", "float32")
DRAWS = 20
Row = tuple[str, ...]
Job = tuple[Any, ...]

OPTIMIZERS = (
    "optimizer",
    "options",
    "oracle",
    "cases, float64",
    "cases, float32",
    "draws, float64",
    "draws, float32",
    "redrawn, float64",
    "redrawn, float32",
)
SCHEDULERS = ("schedule", "largest difference")
DIFFERENT = ("what", "torch", "optrun")

INTRODUCTION = """\
# How far optrun is from torch

Written by `python -m tests.oracles.ledger`; a test keeps it up to date. torch {torch}, NumPy {numpy}, Python {python}.

## Optimizers

The largest difference of a parameter from the oracle's, over all steps, relative to the largest parameter of that step.
A trajectory has {steps} steps ({few} of LBFGS, of up to 20 iterations each) on each of three objectives: an ellipsoid,
a banana, and a parabola with another slope at every step. The *cases* are all float hyperparameters at their defaults,
each moved alone, and all moved; the *draws* are {draws} sets of all of them, log-uniform from a tenth to ten times the
default (one that is zero stays so with probability 0.3). optrun runs the draws as lanes of one pack.

torch keeps its own counters in float64 for float64 parameters here, by `torch.set_default_dtype`. A draw is *redrawn*
where torch leaves the numbers below 10⁶ (the first count), and where it is chaotic (the second): started one rounding
error aside, it departs from itself by more than a tenth of the bound. What agrees to a tenth of the bound is not asked.

The bounds are 1e-12 in float64 and 1e-4 in float32; {lbfgs:.0e} and {lbfgs32:.0e} for LBFGS, whose line search
branches on rounded numbers. torch's Muon orthogonalises in bfloat16 whatever the parameters are, so that it agrees
within {muon:.0e} only; the *formula* is the same algorithm, written anew in float64, with the bound 1e-12.
"""

SCHEDULES_TEXT = """
## Schedules

The largest difference of the rate from torch's over 200 steps, relative to the base rate. The bound is 1e-13.
"""

DIFFERENCES_TEXT = """
## Where torch differs and why

What both do, run as it is written here.
"""


def optimizer_rows() -> list[tuple[str, dict[str, Any], str]]:
    """Return the optimizer, the options that are no floats and the oracle of every row."""
    return [
        (name, flags, oracle)
        for name in rules.names()
        for flags in rules.flag_sets(optimizers.find(name))
        for oracle in draws.oracles(name)
    ]


def schedule_rows() -> list[str]:
    """Return what the rows of the schedules' table are about."""
    drawn = [f"{name}, {DRAWS} draws" for name in schedule_draws.names()]
    return [*map(schedule_label, SCHEDULES), *drawn]


def shown(flags: Mapping[str, Any]) -> str:
    """Return the options of a row as text."""
    return ", ".join(f"{key}={value}" for key, value in flags.items()) or "defaults"


def read() -> dict[str, list[Row]]:
    """Return the rows of every table of the ledger, by the heading above it."""
    tables: dict[str, list[Row]] = {}
    for line in LEDGER.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            tables[line[3:]] = []
        elif line.startswith("| "):
            tables[list(tables)[-1]].append(tuple(cell.strip() for cell in line.strip("|").split(" | ")))
    return {heading: rows[1:] for heading, rows in tables.items()}


def fixed_difference(name: str, flags: Mapping[str, Any], dtype: str, oracle: str) -> float:
    """Return the largest difference over the cases with these flags."""
    worst = 0.0
    for options in rules.variants(optimizers.find(name)):
        if rules.flags_of(name, options) == flags:
            expected = draws.theirs(name, [options], dtype, oracle)
            worst = max(
                worst, float(rules.differences(rules.trajectories(name, options, dtype), expected)[0])
            )
    return worst


def measured(job: Job) -> Any:
    """Return the figure of a job, or the outcome of its draws."""
    kind, *arguments = job
    if kind == "draws":
        return draws.compared(*arguments, DRAWS)
    if kind == "cases":
        return fixed_difference(*arguments)
    if kind == "schedule":
        return schedule_draws.difference(SCHEDULES[arguments[0]])
    return max(schedule_draws.difference(schedule_draws.drawn(*arguments, index)) for index in range(DRAWS))


def jobs() -> list[Job]:
    """Return all that is to be measured."""
    optimizer_jobs = [
        (kind, name, flags, dtype, oracle)
        for name, flags, oracle in optimizer_rows()
        for dtype in DTYPES
        for kind in ("draws", "cases")
        if oracle == "torch" or dtype == "float64"
    ]
    schedule_jobs = [("schedule", index) for index in range(len(SCHEDULES))]
    return [*optimizer_jobs, *schedule_jobs, *(("schedules", name) for name in schedule_draws.names())]


def main() -> None:
    """Measure everything on two processes, and write the ledger."""
    # The longest first, so that neither process waits for the other one at the end.
    todo = sorted(jobs(), key=lambda job: (job[0] != "draws", job[1] not in draws.TENSOR_RULES))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = dict(zip(map(str, todo), pool.map(measured, todo, chunksize=1), strict=True))
    LEDGER.write_text(written(found), encoding="utf-8")


def written(found: Mapping[str, Any]) -> str:
    """Return the ledger's text of what the jobs have found."""
    import torch

    rows: list[Row] = []
    for name, flags, oracle in optimizer_rows():
        cells = {
            (kind, dtype): found.get(str((kind, name, flags, dtype, oracle)))
            for kind in ("cases", "draws")
            for dtype in DTYPES
        }
        outcomes = [cells["draws", dtype] for dtype in DTYPES]
        rows.append(
            (
                name,
                shown(flags),
                oracle,
                *(_figure(cells["cases", dtype]) for dtype in DTYPES),
                *(_figure(outcome and outcome.difference) for outcome in outcomes),
                *(f"{outcome.divergent} + {outcome.chaotic}" if outcome else "–" for outcome in outcomes),
            )
        )
    figures = [found[str(("schedule", index))] for index in range(len(SCHEDULES))]
    figures += [found[str(("schedules", name))] for name in schedule_draws.names()]
    introduction = INTRODUCTION.format(
        torch=torch.__version__.partition("+")[0],
        numpy=np.__version__,
        python=platform.python_version(),
        steps=rules.STEPS,
        few=rules.steps("LBFGS"),
        draws=DRAWS,
        lbfgs=rules.bound("LBFGS", "float64"),
        lbfgs32=rules.bound("LBFGS", "float32"),
        muon=rules.bound("Muon", "float64"),
    )
    return (
        introduction
        + _table(OPTIMIZERS, rows)
        + SCHEDULES_TEXT
        + _table(SCHEDULERS, list(zip(schedule_rows(), map(_figure, figures), strict=True)))
        + DIFFERENCES_TEXT
        + _table(DIFFERENT, [(what, *show()) for what, show in DIFFERENCES.items()])
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"


def _table(head: Row, rows: list[Row]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
