"""How much work a pack is, and about how long it takes: found out by a few steps whose results are thrown away."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optrun.arrays import Array
from optrun.config import Evaluate, RunConfig
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer

TRIAL_SECONDS = 0.3

MOST_ROWS = 1 << 16
"""Of longer curves so many rows are made: the rest is reckoned."""

FIRST_STEPS = 3
"""Looks at a step before the clock runs: in the first ones loops are compiled, and buffers made."""


@dataclass(frozen=True)
class Estimate:
    """The size of a pack, of one run or of several."""

    steps: int
    parameters: int
    """Of one run."""
    steps_per_second: float
    """Of the whole pack."""
    seconds: float
    """Of the start and all steps and evaluations, if nothing ends a run early."""
    curves: Mapping[str, Array]
    """As many rows as one run leaves, all of them zero, or the first of them."""
    evaluations: Mapping[str, Array]
    params: Mapping[str, Array]
    times: float = 1.0
    """How many times as many rows as there are here a run leaves."""


def estimate(configs: Sequence[RunConfig]) -> Estimate:
    """Return the size of a pack, timed for a third of a second; raises what running it would raise at its start."""
    config = configs[0]
    began = time.perf_counter()
    pack = Pack([each.model_copy(update={"evaluate": Evaluate()}) for each in configs])
    start = time.perf_counter() - began
    began = time.perf_counter()
    figures = pack.problem.evaluate(pack.params)
    evaluation = (time.perf_counter() - began) * (1 + pack.keeps_average)
    memory = MemoryStore(pack.configs)
    looks = [time.perf_counter()]
    """The time before the steps, at the loss of each, and after them."""

    def is_enough() -> bool:
        looks.append(time.perf_counter())
        return len(looks) > FIRST_STEPS and looks[-1] - looks[FIRST_STEPS] > TRIAL_SECONDS

    Trainer(pack, memory, interrupted=is_enough).run()
    looks.append(time.perf_counter())
    first = min(FIRST_STEPS, len(looks) - 2)
    start += looks[first] - looks[0]
    step = (looks[-1] - looks[first]) / (len(looks) - 1 - first)
    evaluations = 1 + (pack.steps - 1) // config.evaluate.every if config.evaluate.every else 0
    averages = [f"average_{name}" for name in figures] if pack.keeps_average else []
    rows = [-(-pack.steps // config.record.every), evaluations + 1]
    made = [min(each, MOST_ROWS) for each in rows]
    return Estimate(
        steps=pack.steps,
        parameters=pack.params.size,
        steps_per_second=1 / step,
        seconds=start + pack.steps * step + (evaluations + 1) * evaluation,
        curves=_blank(list(memory.curves(0)), made[0]),
        evaluations=_blank(["step", *figures, *averages], made[1]),
        params={"": np.zeros(pack.params.size * (1 + pack.keeps_average), pack.params.data.dtype)},
        times=sum(rows) / sum(made),
    )


def _blank(names: Sequence[str], rows: int) -> dict[str, Array]:
    return {name: np.arange(rows) if name == "step" else np.zeros(rows) for name in names}
