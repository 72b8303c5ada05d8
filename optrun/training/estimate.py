"""Estimate the size and the run time of a pack by timing a few discarded steps."""

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
"""Largest number of rows of the sample curves; the size of longer ones is extrapolated."""

FIRST_LOOKS = 3
"""Untimed looks of the warm-up, in which loops are compiled and buffers allocated."""


@dataclass(frozen=True)
class Estimate:
    """The size and the run time of a pack of one or several runs."""

    steps: int
    parameters: int
    """Per run."""
    steps_per_second: float
    """Of the whole pack."""
    seconds: float
    """Of the start, all steps and all evaluations, without early stopping."""
    curves: Mapping[str, Array]
    """Columns of zeros with as many rows as a run records, at most `MOST_ROWS`."""
    evaluations: Mapping[str, Array]
    params: Mapping[str, Array]
    times: float = 1.0
    """Ratio of the rows that a run records to the rows of the columns above."""


def estimate(configs: Sequence[RunConfig]) -> Estimate:
    """Return the estimate of a pack, timed for a third of a second; raises what building and running it raises."""
    config = configs[0]
    began = time.perf_counter()
    pack = Pack([each.model_copy(update={"evaluate": Evaluate()}) for each in configs])
    start = time.perf_counter() - began
    began = time.perf_counter()
    figures = pack.problem.evaluate(pack.params)
    evaluation = (time.perf_counter() - began) * (1 + pack.keeps_average)
    memory = MemoryStore(pack.configs)
    times, made = [time.perf_counter()], [0]
    """Before the first step, whenever the trainer looks at a loss, and after the last step; and the steps made then."""

    def is_enough() -> bool:
        times.append(time.perf_counter())
        made.append(trainer.step)
        return len(times) > FIRST_LOOKS and times[-1] - times[FIRST_LOOKS] > TRIAL_SECONDS

    trainer = Trainer(pack, memory, interrupted=is_enough)
    trainer.run()
    times.append(time.perf_counter())
    made.append(trainer.step + 1)
    first = min(FIRST_LOOKS, len(times) - 2)
    if made[-1] < 2 * made[first]:
        first = 0  # most steps were made at once, before the first look
    start += times[first] - times[0]
    step = (times[-1] - times[first]) / (made[-1] - made[first])
    evaluations = 1 + (pack.steps - 1) // config.evaluate.every if config.evaluate.every else 0
    averages = [f"average_{name}" for name in figures] if pack.keeps_average else []
    rows = [config.record.rows(pack.steps), evaluations + 1]
    blank = [min(each, MOST_ROWS) for each in rows]
    return Estimate(
        steps=pack.steps,
        parameters=pack.params.size,
        steps_per_second=1 / step,
        seconds=start + (pack.steps - made[first]) * step + (evaluations + 1) * evaluation,
        curves=_blank(list(memory.curves(0)), blank[0]),
        evaluations=_blank(["step", *figures, *averages], blank[1]),
        params={
            "": np.zeros(pack.params.size * (1 + pack.keeps_average), pack.params.data.dtype),
            "kept": np.zeros(pack.snapshot_bytes, np.uint8),
        },
        times=sum(rows) / sum(blank),
    )


def _blank(names: Sequence[str], rows: int) -> dict[str, Array]:
    return {name: np.arange(rows) if name == "step" else np.zeros(rows) for name in names}
