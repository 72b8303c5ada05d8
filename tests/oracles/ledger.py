"""Write the proof that optrun equals torch: `python -m tests.oracles.ledger` writes LEDGER.md beside this file.

With `--missing` it measures the rows alone that are not there yet, and removes those that are of nothing.
"""

import multiprocessing
import platform
import sys
from collections.abc import Mapping, Sequence
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
SCHEDULE_DRAWS = 200
Row = tuple[str, ...]

OPTIMIZERS = (
    "optimizer",
    "options",
    "oracle",
    "cases, float64",
    "cases, float32",
    "draws",
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
optrun has what torch 2.15 has; what that torch lacks is compared otherwise: Muon's spectral_unclamped with the formula
alone, and the maximize of LBFGS and Muon with torch's steps on negated gradients.

## Optimizers

The largest difference of a parameter from the oracle's, over all steps, relative to the largest parameter of that step.
A trajectory has {steps} steps ({few} of LBFGS, of up to 20 moves each, 1 in float32) on each of three objectives: an
ellipsoid, a banana, and a parabola with another slope at every step. The *cases* are all float hyperparameters at
their defaults, each moved alone, and all moved; the *draws* are so many sets of all of them,
log-uniform from a tenth to ten times the default (one that is zero stays so with probability 0.3). optrun runs
the draws as lanes of one pack.

torch keeps its own counters in float64 for float64 parameters here, by `torch.set_default_dtype`. A draw is *redrawn*
where torch leaves the numbers below 10⁶ (the first count), and where it is chaotic (the second): with a start,
gradients, and points at which they are asked for that are one rounding error off, it departs from itself by more than
a tenth of the bound. What agrees to a
tenth of the bound is not asked.

The bounds are 1e-12 in float64 and 1e-4 in float32; {lbfgs:.0e} and {lbfgs32:.0e} for LBFGS, whose line search
branches on rounded numbers. torch's Muon orthogonalises in bfloat16 whatever the parameters are, so that it agrees
within {muon:.0e} only; the *formula* is the same algorithm, written anew in float64, with the bound 1e-12.
"""

SCHEDULES_TEXT = """
## Schedules

The largest difference of the rate from torch's over 200 steps, relative to the base rate. The bound is
1e-13, and 1e-12 for the draws of CosineAnnealingLR, of which torch's own rates drift (below).
"""

DIFFERENCES_TEXT = """
## Where torch differs and why

What both do, run as it is written here.
"""


def optimizer_keys() -> list[tuple[str, dict[str, Any], str]]:
    """Return the optimizer, the options that are no floats and the oracle of every row."""
    return [
        (name, flags, oracle)
        for name in rules.names()
        for flags in rules.flag_sets(optimizers.find(name))
        for oracle in draws.oracles(name, flags)
    ]


def schedule_keys() -> dict[str, list[schedule_draws.Spec]]:
    """Return the schedules that every row is about."""
    drawn = {
        f"{name}, {SCHEDULE_DRAWS} draws": [
            schedule_draws.drawn(name, index) for index in range(SCHEDULE_DRAWS)
        ]
        for name in schedule_draws.names()
    }
    return {schedule_label(spec): [spec] for spec in SCHEDULES} | drawn


def head(name: str, flags: Mapping[str, Any], oracle: str) -> Row:
    """Return the cells of a row that say what it is about."""
    return name, ", ".join(f"{key}={value}" for key, value in flags.items()) or "defaults", oracle


def read() -> dict[str, list[Row]]:
    """Return the rows of every table of the ledger, by the heading above it."""
    tables: dict[str, list[Row]] = {}
    for line in LEDGER.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            tables[line[3:]] = []
        elif line.startswith("| "):
            tables[list(tables)[-1]].append(tuple(cell.strip() for cell in line.strip("|").split(" | ")))
    return {heading: rows[2:] for heading, rows in tables.items()}


def optimizer_row(name: str, flags: Mapping[str, Any], oracle: str) -> Row:
    """Measure one optimizer with these options."""
    dtypes, count = (
        [dtype for dtype in DTYPES if oracle == "torch" or dtype == "float64"],
        draws.COUNT,
    )
    cases = [f"{_largest(name, flags, dtype, oracle):.1e}" for dtype in dtypes]
    outcomes = [draws.compared(name, flags, dtype, oracle, count) for dtype in dtypes]
    figures = [f"{outcome.difference:.1e}" for outcome in outcomes]
    redrawn = [f"{outcome.divergent} + {outcome.chaotic}" for outcome in outcomes]
    missing = ["–"] * (len(DTYPES) - len(dtypes))
    return (*head(name, flags, oracle), *cases, *missing, str(count), *figures, *missing, *redrawn, *missing)


def schedule_row(title: str, specs: Sequence[schedule_draws.Spec]) -> Row:
    """Measure one schedule, or the draws of one."""
    return title, f"{max(map(schedule_draws.difference, specs)):.1e}"


def main() -> None:
    """Measure everything on two processes, and write the ledger."""
    import torch

    known = read() if sys.argv[1:] == ["--missing"] else {"Optimizers": [], "Schedules": []}
    by_head = {row[:3]: row for row in known["Optimizers"]}
    by_title = {row[0]: row for row in known["Schedules"]}
    # The longest first, so that neither process waits for the other one at the end.
    keys = sorted(optimizer_keys(), key=lambda key: key[0] not in ("Adafactor", "LBFGS", "Muon", "RMSprop"))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        todo = [key for key in keys if head(*key) not in by_head]
        by_head |= {row[:3]: row for row in pool.starmap(optimizer_row, todo, chunksize=1)}
        schedules = [item for item in schedule_keys().items() if item[0] not in by_title]
        by_title |= {row[0]: row for row in pool.starmap(schedule_row, schedules, chunksize=1)}
    introduction = INTRODUCTION.format(
        torch=torch.__version__.partition("+")[0],
        numpy=np.__version__,
        python=platform.python_version(),
        steps=rules.STEPS,
        few=rules.steps("LBFGS"),
        lbfgs=rules.bound("LBFGS", "float64"),
        lbfgs32=rules.bound("LBFGS", "float32"),
        muon=rules.bound("Muon", "float64"),
    )
    text = (
        introduction
        + _table(OPTIMIZERS, [by_head[head(*key)] for key in optimizer_keys()])
        + SCHEDULES_TEXT
        + _table(SCHEDULERS, [by_title[title] for title in schedule_keys()])
        + DIFFERENCES_TEXT
        + _table(DIFFERENT, [(what, *show()) for what, show in DIFFERENCES.items()])
    )
    LEDGER.write_text(text, encoding="utf-8")


def _largest(name: str, flags: Mapping[str, Any], dtype: str, oracle: str) -> float:
    """Return the largest difference over the cases with these flags."""
    own = [each for each in rules.variants(optimizers.find(name)) if rules.flags_of(name, each) == flags]
    found = [
        rules.differences(rules.trajectories(name, each, dtype), draws.theirs(name, [each], dtype, oracle))[0]
        for each in own
    ]
    return float(np.max(found))


def _table(head: Row, rows: list[Row]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
