"""Which runs become lanes of one pack, and how many of them."""

import json
import math
import os
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
from optrun.kernels.threads import cores
from optrun.registry import optimizers
from optrun.sweep.expand import Plan
from optrun.training.evaluator import Evaluator
from optrun.training.pack import Pack

MAX_LANES = 4096
"""Where more lanes gain little, whatever their size, and an interruption loses more."""

FEW_LANES = 16
"""As many as a pack should have, whatever their size, so that the calls of a step are for more than a few of them."""

MAX_ROWS_BYTES = 1 << 27
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
    repeats: int
    """Runs that follow each other with seeds of their own; those of the next setting have the same ones."""
    work: int
    """Steps times parameters, of all runs."""
    is_on_device: bool = False


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
    work = len(runs) * pack.steps * pack.params.size
    return Group(runs, _width(pack), plan.repeats, work, pack.arrays.is_on_device)


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
        if not chosen:
            continue
        width = min(group.width, limit or group.width)
        # Whole settings where there are many, so that the lanes of a seed share its minibatches.
        is_whole = group.repeats <= width and len(chosen) >= 4 * jobs * group.repeats
        block = group.repeats if is_whole else 1
        blocks = math.ceil(len(chosen) / block)
        count = math.ceil(blocks / (width // block))
        if len(groups) < jobs:
            count = min(jobs * math.ceil(count / jobs), blocks)
        bounds = [round(i * blocks / count) * block for i in range(count + 1)]
        packs += [chosen[begin:end] for begin, end in pairwise(bounds)]
    return packs


def jobs_for(groups: Sequence[Group]) -> int:
    """Return how many processes are worth their start: one for every core, or this one alone.

    It is this one where there is little to do, and on a device, which all processes would share.
    """
    is_little = sum(group.work for group in groups) < LITTLE_WORK
    return 1 if is_little or any(group.is_on_device for group in groups) else cores()


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
    """Return how many lanes have their parameters and gradients in the L2 cache, or a few.

    It is 1 for rules that take no more. A device has so many cores that its memory is the bound.
    Measured, MLPs 64-h-10 of batches of 128 with Adam, h = 32, 64 and 256: within 5 % of the best of 8 … 128 lanes.
    """
    config = pack.configs[0]
    if not optimizers.find(config.optimizer.name).batched:
        return 1
    lane = max(pack.params.data.nbytes + pack.params.grad.nbytes, 1)
    rows = math.ceil(pack.steps / config.record.every) * (1 + len(config.record.metrics)) * 8
    room = DEVICE_BYTES if pack.arrays.is_on_device else l2_bytes()
    cached = round(room / lane)
    few = min(FEW_LANES, FEW_LANES * room // lane)
    lanes: int = min(MAX_LANES, max(cached, few), MAX_ROWS_BYTES // rows)
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
