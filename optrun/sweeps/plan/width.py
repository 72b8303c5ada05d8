"""How many lanes a pack has."""

import math
import os
from contextlib import suppress
from pathlib import Path

from optrun.fallbacks import log
from optrun.registry import optimizers
from optrun.training.pack import Pack

MAX_LANES, MAX_STEPS = 1 << 14, 1 << 27
"""Lanes of a pack, and their steps in all where that leaves LONG_LANES: an interruption loses, or waits for, one pack.

Measured, 512 x 512 starts of Rosenbrock, 1,000 steps of Adam, s of CPU: 0.87 with 4,096 lanes, 0.65 with 16,384; a
sweep of 100,000 rates, 2,000 steps: 3.16 and 2.83.
"""

LONG_LANES = 4096
"""Lanes of packs of many steps, beside which what a pack takes to build and to store is little."""

FEW_LANES = 16
"""As many as a pack should have, so that the calls of a step are for more than a few of them.

Fewer where a lane is larger than the L2 cache: 8 of twice its size, 4 of four times.
"""

MAX_BYTES = 1 << 27
"""About how much a pack may take: parameters, state, and the rows that are recorded."""

FEW_FIGURES = 8
"""About how many figures an evaluation has."""

DEFAULT_L2 = 1 << 20
_L2 = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")


def width_of(pack: Pack) -> int:
    """Return how many lanes packs of such runs should have, given a pack of one.

    As many as have their parameters and gradients in the L2 cache, or a few, where their results fit in memory. It is
    1 for rules that take no more, and where time ends a run: that of a pack is not the time of its lanes. A device has
    so many cores that its memory is the bound.
    """
    config = pack.configs[0]
    if not optimizers.find(config.optimizer.name).batched or config.stop.time is not None:
        return 1
    lane = max(pack.params.data.nbytes + pack.params.grad.nbytes, 1)
    room = MAX_BYTES if pack.arrays.is_on_device else l2_bytes()
    in_cache = max(round(room / lane), min(FEW_LANES, FEW_LANES * room // lane))
    return max(1, min(most_lanes(pack.steps), MAX_BYTES // (lane + _more_bytes(pack)), in_cache))


def most_lanes(steps: int) -> int:
    """Return the most lanes of packs that make so many steps."""
    return max(LONG_LANES, min(MAX_LANES, MAX_STEPS // steps))


def _more_bytes(pack: Pack) -> int:
    """Return about how many bytes a lane takes by its end beside its parameters and their gradients."""
    config, optimizer = pack.configs[0], pack.optimizer
    groups = len(optimizer.param_groups)
    record = config.record
    columns = 2 + len(record.measured) + groups * len(record.hyperparameters)
    numbers = record.rows(pack.steps) * columns
    if config.evaluate.every:
        figures = FEW_FIGURES * (1 + pack.keeps_average)
        numbers += math.ceil(pack.steps / config.evaluate.every) * (1 + figures)
    average = pack.params.data.nbytes if pack.average is not None else 0
    return 8 * numbers + optimizer.state_bytes(pack.steps) + average + pack.snapshot_bytes


def l2_bytes() -> int:
    """Return the size of a core's L2 cache in bytes, or a common one where the system does not tell."""
    with suppress(OSError, ValueError):
        text = _L2.read_text().strip()
        if text.endswith("K"):
            return int(text[:-1]) << 10
    with suppress(OSError, ValueError, AttributeError):
        if (size := os.sysconf("SC_LEVEL2_CACHE_SIZE")) > 0:
            return size
    log.debug(
        "the system does not tell the size of the L2 cache: packs are made for %d KiB", DEFAULT_L2 >> 10
    )
    return DEFAULT_L2
