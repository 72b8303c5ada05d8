"""The learning rates that a config will use, before anything runs."""

import numpy as np

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.training.pack import Pack


def rates(config: RunConfig) -> dict[str, Array]:
    """Return ``step`` and the rate of every parameter group, each ``[steps]``, without training.

    A ReduceLROnPlateau, which would have to see the training, leaves the rate as it is.

    Raises ConfigError where the options make no problem, optimizer or scheduler.
    """
    pack = Pack([config])
    groups = pack.optimizer.param_groups
    steps = np.arange(pack.steps)
    table = [np.full(pack.steps, np.ravel(group["lr"])[0]) for group in groups]
    for scheduler in pack.schedulers:
        for scheduled, name, values in scheduler.values_at(steps):
            if name == "lr":
                (row,) = (row for row, group in zip(table, groups, strict=True) if group is scheduled)
                row[:] = [np.ravel(value)[0] for value in values]
    names = ["lr", *(f"lr.{index}" for index in range(1, len(groups)))]
    return {"step": steps, **dict(zip(names, table, strict=True))}
