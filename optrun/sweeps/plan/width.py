"""How many lanes a pack has: by a rule, or as it was measured before for problems of the same shape."""

import hashlib
import json
import math
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from optrun.config import METRICS
from optrun.kernels import user_cache
from optrun.kernels.numba.code_cache import is_installed
from optrun.registry import optimizers
from optrun.store.fingerprint import cpu_model
from optrun.training.pack import Pack

MAX_LANES = 4096
"""Where more lanes gain little, whatever their size, and an interruption loses more."""

FEW_LANES = 16
"""As many as a pack should have, whatever their size, so that the calls of a step are for more than a few of them."""

MAX_BYTES = 1 << 27
"""About how much a pack may take: parameters, state, and the rows that are recorded."""

FEW_FIGURES = 8
"""About how many figures an evaluation has."""

FORM = "1"
"""Of the files and of how widths are measured: another one is another name."""

DEFAULT_L2 = 1 << 20
_L2 = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")


@dataclass(frozen=True)
class Choice:
    """What the width of a group of runs may be chosen from."""

    shape: str
    """Names what decides how fast a width is: neither the learning rate, nor the seed, nor the number of steps."""
    most: int
    """The most lanes, whatever their speed."""
    steps: int
    """Of a run."""


@dataclass(frozen=True)
class Measured:
    """The fastest width, and the widest that was compared with it."""

    width: int
    widest: int

    def holds(self, most: int) -> bool:
        """Whether more could be no better where there may be so many lanes."""
        return self.width < self.widest or most <= self.widest

    def over(self, width: int) -> int:
        """Return the better of this and another width, which may be wider than any that could be tried."""
        return self.width if self.width < self.widest else max(self.width, width)


def width_of(pack: Pack) -> tuple[int, Choice | None]:
    """Return the width of packs like this one, as it was measured or by the rule, and whether there is a choice.

    It is 1 for rules that take no more, and where time ends a run: that of a pack is not the time of its lanes. A
    device has so many cores that its memory is the bound. What a plugin brings keeps the width of the rule: its steps
    may have no end, and are taken for the runs alone.
    """
    config = pack.configs[0]
    if not optimizers.find(config.optimizer.name).batched or config.stop.time is not None:
        return 1, None
    most = max(1, min(MAX_LANES, MAX_BYTES // _bytes(pack)))
    by_rule = min(most, _by_rule(pack))
    if pack.arrays.is_on_device or not _is_known(pack):
        return by_rule, None
    choice = Choice(_shape(pack), most, pack.steps)
    kept = remembered(choice.shape)
    return min(most, kept.over(by_rule)) if kept else by_rule, choice


def _is_known(pack: Pack) -> bool:
    """Return whether no code but that of the project is in a step."""
    parts = (pack.problem, pack.optimizer, pack.average, *pack.schedulers)
    return all(type(each).__module__.startswith("optrun.") for each in parts if each is not None)


def _by_rule(pack: Pack) -> int:
    """Return how many lanes have their parameters and gradients in the L2 cache, or a few.

    Measured, MLPs 64-h-10 of batches of 128 with Adam, h = 32, 64 and 256: within 5 % of the best of 8 … 128 lanes.
    """
    lane = max(pack.params.data.nbytes + pack.params.grad.nbytes, 1)
    room = MAX_BYTES if pack.arrays.is_on_device else l2_bytes()
    return max(1, round(room / lane), min(FEW_LANES, FEW_LANES * room // lane))


def _bytes(pack: Pack) -> int:
    """Return about how many bytes a lane takes by its end."""
    config, optimizer = pack.configs[0], pack.optimizer
    groups = len(optimizer.param_groups)
    columns = 1 + sum(groups if name == "lr" or name not in METRICS else 1 for name in config.record.metrics)
    numbers = math.ceil(pack.steps / config.record.every) * columns
    if config.evaluate.every:
        figures = FEW_FIGURES * (1 + pack.keeps_average)
        numbers += math.ceil(pack.steps / config.evaluate.every) * (1 + figures)
    state = sum(
        math.prod(shape)
        for view in pack.params.values()
        for shape in optimizer.state_shapes(view.shape[1:]).values()
    )
    arrays = 2 + (pack.average is not None)
    return 8 * numbers + pack.params.data.itemsize * (arrays * pack.params.size + state)


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


def without_floats(value: Any) -> Any:
    """Return a document whose floats, in which lanes may differ, look all the same."""
    if isinstance(value, float):
        return "·"
    if isinstance(value, dict):
        return {key: without_floats(child) for key, child in value.items()}
    return [without_floats(child) for child in value] if isinstance(value, list) else value


def _shape(pack: Pack) -> str:
    config = pack.configs[0]
    document = config.to_dict()
    of_pack = [
        without_floats(document["problem"]),
        pack.params.shapes,
        pack.problem.steps_per_epoch,  # of data that may have become more
        config.optimizer.name,
        [config.dtype, config.backend, config.engine],
    ]
    text = json.dumps([of_pack, _machine(), l2_bytes()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def _machine() -> list[str | None]:
    return [FORM, np.__version__, version("numba") if is_installed() else None, cpu_model()]


def remembered(shape: str) -> Measured | None:
    """Return what was measured on this machine before; None where that is not there, or damaged."""
    content = user_cache.read(_file(shape))
    with suppress(ValueError, TypeError):
        found = Measured(**json.loads(content or b""))
        if all(type(each) is int for each in asdict(found).values()) and 1 <= found.width <= found.widest:
            return found
    return None


def remember(shape: str, found: Measured) -> None:
    """Keep what was measured for later sweeps, where that is possible."""
    with suppress(OSError):
        user_cache.write(_file(shape), json.dumps(asdict(found)).encode())


def _file(shape: str) -> Path:
    return user_cache.directory("widths") / shape
