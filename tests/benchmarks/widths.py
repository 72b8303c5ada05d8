"""Which widths packs get: a table of `python -m tests.benchmarks`.

For each shape the width of the rule and the one that a long sweep measures on this machine, and the microseconds of the
processor for a lane's step at both. They take turns; the best counts.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from unittest.mock import patch

from optrun.config import RunConfig
from optrun.config.sweep.resolve import sweep_from_mapping
from optrun.kernels.threads import cores
from optrun.sweeps.plan import width
from optrun.sweeps.plan.expand import expand
from optrun.sweeps.plan.packs import grouped
from optrun.sweeps.plan.width_trial import measured
from optrun.training.estimate import Trial
from tests.benchmarks.tables import Table

REPEATS = 4
LONG = 10**10
"""Steps of all runs: so many that time does not bound the measurement."""
LANE_STEPS = 10_000
"""Of a turn, of 20 to 200 steps."""
FIRST = 4
"""The look from which time counts."""

SHAPES = {
    "MLP 64-64-10, batch 128": ({"name": "mlp", "data": "digits", "hidden": [64], "batch_size": 128}, 1_024),
    "MLP 64-256-10, batch 128": ({"name": "mlp", "data": "digits", "hidden": [256], "batch_size": 128}, 256),
    "MLP 64-128-128-10, batch 64": (
        {"name": "mlp", "data": "digits", "hidden": [128, 128], "batch_size": 64},
        256,
    ),
    "MLP 4-16-3, batch 32": ({"name": "mlp", "data": "iris", "hidden": [16], "batch_size": 32}, 8_192),
    "Rosenbrock, 2 dimensions": ({"name": "rosenbrock"}, 16_384),
    "softmax 64-10, batch 64": ({"name": "softmax_regression", "data": "digits", "batch_size": 64}, 2_048),
}


def widths(
    problem: dict[str, object], runs: int, engine: str, rounds: int
) -> tuple[dict[int, float], int, int]:
    """Return the seconds of a lane's step by width, the width of the rule and the one that is measured."""
    sweep = {
        "problem": problem,
        "optimizer": "Adam",
        "steps": 1_000,
        "engine": engine,
        "record": {"every": 10},
        "sweep": {
            "parameters": {"optimizer.lr": {"logspace": [1e-4, 1e-2, runs // REPEATS]}},
            "repeats": REPEATS,
        },
    }
    plan = expand(sweep_from_mapping(sweep))
    (group,) = grouped(plan)
    assert group.choice is not None

    def lanes_at(lanes: int) -> int:
        block = group.block(runs, lanes, 1)
        return lanes // block * block

    # As in a sweep of one process per core, whose steps have one thread.
    found = measured(plan.configs, group.width, group.choice.most, lanes_at, LONG, cores(), lambda: False)
    chosen = found.width if found else group.width
    best: dict[int, float] = {}
    for _ in range(rounds):
        for lanes in {lanes_at(group.width), lanes_at(chosen)}:
            best[lanes] = min(best.get(lanes, math.inf), lane_step(plan.configs[:lanes]))
    return best, lanes_at(group.width), lanes_at(chosen)


def lane_step(configs: Sequence[RunConfig]) -> float:
    last = FIRST + min(200, max(20, LANE_STEPS // len(configs)))
    _, looks = Trial(configs, clock=time.process_time).run(lambda looks: len(looks) > last)
    return (looks[last] - looks[FIRST]) / ((last - FIRST) * len(configs))


def table(rounds: int = 9, engine: str = "auto") -> Table:
    """Microseconds of a lane's step at the width of the rule and at the measured one."""
    rows = [["µs of the processor", "lanes by the rule", "", "measured", "", "ratio"]]
    with patch.object(width, "remembered", lambda shape: None):  # whatever an earlier sweep has found
        for name, (problem, runs) in SHAPES.items():
            best, rule, chosen = widths(problem, runs, engine, rounds)
            one, other = 1e6 * best[rule], 1e6 * best[chosen]
            cells = (
                [f"{chosen:,}", f"{other:.3f}", f"{one / other:.2f}"]
                if chosen != rule
                else ["the same", "", ""]
            )
            rows.append([name, f"{rule:,}", f"{one:.3f}", *cells])
    return rows


def sections() -> Iterator[tuple[str, Callable[[], Table]]]:
    """Yield the title of each table, and what measures it."""
    yield "Widths of packs", table
