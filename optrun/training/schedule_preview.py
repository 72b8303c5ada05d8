"""The values of a config's schedules, without running it."""

import numpy as np

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.plugin_code import guarded
from optrun.training.build import scheduled_steps
from optrun.training.pack import Pack


def scheduled(config: RunConfig) -> dict[str, Array]:
    """Return ``step``, the learning rates and the other scheduled hyperparameters of every group, each ``[steps]``.

    A very long run is sampled at evenly spaced steps. Nothing is trained, so ReduceLROnPlateau never reduces.

    Raises ConfigError if the problem, the optimizer or a scheduler cannot be built.
    """
    pack = Pack([config])
    groups, steps = pack.optimizer.param_groups, scheduled_steps(pack.steps)
    moving = []
    for scheduler in pack.schedulers:
        with guarded(type(scheduler).__name__, type(scheduler)):
            moving += scheduler.values_at(steps)
    table: dict[str, Array] = {"step": steps}
    for name in dict.fromkeys(["lr", *(name for _, name, _ in moving)]):
        for index, group in enumerate(groups):
            if name not in group.options:  # its rule is another one
                continue
            row = np.full(len(steps), np.ravel(group[name])[0])
            for follower, of, values in moving:
                if follower is group and of == name:
                    row[:] = [np.ravel(value)[0] for value in values]
            table[f"{name}.{index}" if index else name] = row
    return table
