"""Which runs become lanes of one pack, and how many of them."""

import json
import math
import os
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from optrun.config import ConfigErrors, RunConfig
from optrun.errors import ConfigError, did_you_mean
from optrun.registry import optimizers
from optrun.sweep.expand import Plan
from optrun.training.evaluator import Evaluator
from optrun.training.pack import Pack

MAX_LANES = 2560
"""Where more lanes gain little, whatever their size, and an interruption loses more.

Measured, Rosenbrock's function with Adam: 44 ns for a step of one of 1,000 lanes, 29 of 2,500, 24 of 5,000.
"""

MAX_ROWS_BYTES = 1 << 26
"""About how much the recorded rows of a pack may take."""

LITTLE_WORK = 100_000_000
"""Steps times parameters that take about as long as the start of a process."""

DEVICE_BYTES = 1 << 28
"""Of parameters and gradients of a pack on a device, where hidden values take several times as much; not measured."""

DEFAULT_L2 = 1 << 20
_L2 = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
_STACKED = ("optimizer", "scheduler", "schedules", "average")


@dataclass(frozen=True)
class Group:
    """Runs that may be lanes of one pack."""

    runs: Sequence[int]
    width: int
    """The most lanes that a pack of them should have."""
    work: int
    """Steps times parameters, of all runs."""


def grouped(plan: Plan, runs: Sequence[int] | None = None) -> list[Group]:
    """Return the groups of runs, all or those that are given, that differ in floats and seeds alone.

    Raises ConfigErrors where the first run of one cannot be built, or does not measure what the sweep is ranked by.
    """
    groups: defaultdict[str, list[int]] = defaultdict(list)
    documents = plan.documents
    for run in range(len(documents)) if runs is None else runs:
        groups[pack_key(documents[run])].append(run)
    return [_group(plan, runs) for runs in groups.values()]


def _group(plan: Plan, runs: Sequence[int]) -> Group:
    config = plan.configs[runs[0]]
    try:
        pack = Pack([config])
    except ConfigErrors:
        raise
    except ConfigError as error:
        if error.field.partition(".")[0] not in RunConfig.model_fields:
            raise
        raise plan.swept.resolved(plan.nodes[runs[0] // plan.repeats]).located(error) from error
    metric = plan.metric.name
    if metric != "final_loss":
        with np.errstate(all="ignore"):
            names = ["final_loss" if name == "loss" else name for name in Evaluator(pack).now()]
        if metric not in names:
            text = f"{config.problem.name} has no figure {metric!r}: {', '.join(names)}.{did_you_mean(metric, names)}"
            raise ConfigErrors([plan.swept.issue(("metric", "name"), text)])
    return Group(runs, _width(pack), len(runs) * pack.steps * pack.params.size)


def divided(
    groups: Sequence[Group], runs: Collection[int], jobs: int, limit: int | None = None
) -> list[list[int]]:
    """Return the packs of those runs that are wanted: as even as can be, and enough of them for all jobs.

    ``limit`` is the most lanes that a pack may have.
    """
    wanted = runs if isinstance(runs, (set, range)) else set(runs)
    packs = []
    for group in groups:
        chosen = [run for run in group.runs if run in wanted]
        width = min(group.width, limit or group.width)
        count = max(math.ceil(len(chosen) / width), min(jobs, len(chosen)) if len(groups) < jobs else 1)
        bounds = [round(i * len(chosen) / count) for i in range(count + 1)]
        packs += [chosen[begin:end] for begin, end in pairwise(bounds) if end > begin]
    return packs


def jobs_for(groups: Sequence[Group]) -> int:
    """Return how many processes are worth their start: one for every core, or this one where there is little to do."""
    return 1 if sum(group.work for group in groups) < LITTLE_WORK else cores()


def cores() -> int:
    """Return how many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pack_key(document: dict[str, Any]) -> str:
    """Return what the lanes of a pack have in common: the whole config but seeds, and floats that are stacked."""
    shared = {name: value for name, value in document.items() if name not in ("seed", *_STACKED)}
    return json.dumps([shared, *(_without_floats(document.get(name)) for name in _STACKED)])


def _without_floats(value: Any) -> Any:
    if isinstance(value, float):
        return "·"
    if isinstance(value, dict):
        return {key: _without_floats(child) for key, child in value.items()}
    return [_without_floats(child) for child in value] if isinstance(value, list) else value


def _width(pack: Pack) -> int:
    """Return how many lanes have their parameters and gradients in the L2 cache; 1 for rules that take no more.

    Measured, an MLP 64-64-10 with Adam: within 10 % of the best from half of it to four times as many. A device has
    so many cores that its memory is the bound.
    """
    config = pack.configs[0]
    if not optimizers.find(config.optimizer.name).batched:
        return 1
    lane = pack.params.data.nbytes + pack.params.grad.nbytes
    rows = math.ceil(pack.steps / config.record.every) * (1 + len(config.record.metrics)) * 8
    room = DEVICE_BYTES if pack.arrays.is_on_device else l2_bytes()
    lanes: int = min(MAX_LANES, round(room / max(lane, 1)), MAX_ROWS_BYTES // rows)
    return max(1, lanes)


def l2_bytes() -> int:
    """Return the size of a core's L2 cache in bytes, or a common one where the system does not tell."""
    with suppress(OSError, ValueError):
        text = _L2.read_text().strip()
        if text.endswith("K"):
            return int(text[:-1]) << 10
    with suppress(OSError, ValueError, AttributeError):
        if (size := os.sysconf("SC_LEVEL2_CACHE_SIZE")) > 0:
            return size
    return DEFAULT_L2
