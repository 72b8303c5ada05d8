"""How much work a config is, and about how long it takes: found out by a few steps whose results are thrown away."""

import time
from dataclasses import dataclass

from optrun.config import Evaluate, RunConfig
from optrun.training.memory import Memory
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer

TRIAL_SECONDS = 0.3


@dataclass(frozen=True)
class Estimate:
    """The size of a run."""

    steps: int
    parameters: int
    steps_per_second: float
    seconds: float
    """Of all steps and evaluations, if nothing ends the run early."""


def estimate(config: RunConfig) -> Estimate:
    """Return the size of a run, timed for a third of a second; raises what running it would raise at its start."""
    pack = Pack([config.model_copy(update={"evaluate": Evaluate()})])
    began = time.monotonic()
    pack.problem.evaluate(pack.params)
    evaluation = (time.monotonic() - began) * (1 + pack.keeps_average)
    memory = Memory(pack.configs)
    began = time.monotonic()
    Trainer(pack, memory, interrupted=lambda: time.monotonic() - began > TRIAL_SECONDS).run()
    step = (time.monotonic() - began) / max(memory.run(0).steps, 1)
    evaluations = 1 + (pack.steps - 1) // config.evaluate.every if config.evaluate.every else 0
    return Estimate(
        steps=pack.steps,
        parameters=pack.params.size,
        steps_per_second=1 / step,
        seconds=pack.steps * step + (evaluations + 1) * evaluation,
    )
