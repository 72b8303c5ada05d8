"""How much memory there is: what does not fit is refused before it is allocated."""

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from optrun.errors import OutOfMemoryError

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@cache
def memory_bytes() -> int | None:
    """Return the memory of the machine, or what a container may have of it; None where the system does not tell."""
    found = []
    with suppress(AttributeError, OSError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in _LIMITS:
        with suppress(OSError, ValueError):
            found.append(int(limit.read_text(encoding="ascii")))
    return min((each for each in found if each > 0), default=None)


def check_fits(needed: int, what: str) -> None:
    """Raise OutOfMemoryError where something takes more bytes than there are."""
    there_is = memory_bytes()
    if there_is is not None and needed > there_is:
        gib = 1 << 30
        raise OutOfMemoryError(
            f"{what} take {needed / gib:,.1f} GiB, more than the {there_is / gib:,.1f} GiB of memory here"
        )
