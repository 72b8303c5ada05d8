"""The learning rates that a config will use, before anything runs."""

import numpy as np

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.training.pack import Pack


def rates(config: RunConfig) -> dict[str, Array]:
    """Return ``step`` and the rate of every parameter group, each ``[steps]``, without training.

    Raises ConfigError where the options make no problem, optimizer or scheduler.
    """
    pack = Pack([config])
    groups = pack.optimizer.param_groups
    table = np.empty((len(groups), pack.steps))
    for step in range(pack.steps):
        for row, group in zip(table, groups, strict=True):
            row[step] = np.ravel(group["lr"])[0]
        if pack.scheduler is not None:
            pack.scheduler.step()
    names = ["lr", *(f"lr.{index}" for index in range(1, len(groups)))]
    return {"step": np.arange(pack.steps), **dict(zip(names, table, strict=True))}
