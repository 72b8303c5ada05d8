"""What the schedules of a config will do, before anything runs."""

import numpy as np

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.plugin_code import guarded
from optrun.training.build import scheduled_steps
from optrun.training.pack import Pack


def scheduled(config: RunConfig) -> dict[str, Array]:
    """Return ``step``, the rate of every parameter group and what else is scheduled in one, each ``[steps]``,
    or of a very long run at evenly spread steps.

    Nothing is trained: a ReduceLROnPlateau, which would have to see the training, leaves the rate as it is.

    Raises ConfigError where the options make no problem, optimizer or scheduler.
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
            row = np.full(len(steps), np.ravel(group[name])[0])
            for follower, of, values in moving:
                if follower is group and of == name:
                    row[:] = [np.ravel(value)[0] for value in values]
            table[f"{name}.{index}" if index else name] = row
    return table
