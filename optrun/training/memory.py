"""Memory limits: what does not fit is refused before it is allocated."""

import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from optrun.config import RunConfig
from optrun.config.model.run import MOST_KEPT
from optrun.errors import ConfigError, OutOfMemoryError, counted
from optrun.fallbacks import Fallback, log

GIB = 1 << 30

MOST_KEPT_BYTES = GIB
"""The most that the snapshots of one run may take."""

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@cache
def memory_bytes() -> int | None:
    """Return the memory of the machine or of its container in bytes; None if unknown."""
    found = []
    with Fallback("the system does not tell its memory", AttributeError, OSError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    limits = []
    for limit in _LIMITS:
        with suppress(OSError, ValueError):
            limits.append(int(limit.read_text(encoding="ascii")))
    if not limits:
        log.debug("no memory limit of a container is known: that of the machine counts")
    found += limits
    return min((each for each in found if each > 0), default=None)


def check_fits(parts: Mapping[str, int]) -> None:
    """Raise OutOfMemoryError if the parts, bytes by description, exceed the memory."""
    there_is, needed = memory_bytes(), sum(parts.values())
    if there_is is None or needed <= there_is:
        return
    taken = {what: f"{size / GIB:,.1f} GiB" for what, size in parts.items() if size}
    each = [f"{what} ({size})" for what, size in taken.items()] if len(taken) > 1 else list(taken)
    raise OutOfMemoryError(
        f"{', '.join(each[:-1])}{' and ' if len(each) > 1 else ''}{each[-1]} take {needed / GIB:,.1f} GiB, "
        f"more than the {there_is / GIB:,.1f} GiB of memory here"
    )


def snapshot_bytes(config: RunConfig, steps: int, shapes: Iterable[tuple[int, ...]]) -> int:
    """Return the bytes of the parameters that a run keeps at `record.params`; ConfigError if they are too many."""
    kept = len(config.record.kept(steps))
    size = sum(map(math.prod, shapes))
    needed = kept * size * (4 if config.dtype == "float32" else 8)
    if needed > MOST_KEPT_BYTES:
        raise ConfigError(
            f"params: {counted(size, 'parameter')} at {counted(kept, 'step')} are {needed / GIB:,.1f} GiB, "
            f"and a run keeps at most {MOST_KEPT_BYTES // GIB} GiB: name fewer steps",
            field="record.params",
        )
    if kept > MOST_KEPT:
        said = (
            f"params: a run keeps its parameters at {MOST_KEPT:,} steps at most, not at {kept:,}: name fewer"
        )
        raise ConfigError(said, field="record.params")
    return needed
