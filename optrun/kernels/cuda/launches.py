"""Launches: what a step sends to a device, done at once or gathered first, so that it can be replayed as one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Launch = Callable[[], object]


class _Gathering(threading.local):
    launches: list[Launch] | None = None


_gathering = _Gathering()


def launch(call: Launch) -> None:
    """Do what sends work to the device, or keep it for later within `gathered`."""
    if _gathering.launches is None:
        call()
    else:
        _gathering.launches.append(call)


@contextmanager
def gathered() -> Iterator[list[Launch]]:
    """Keep the launches of this thread within the block, in their order; the caller does them."""
    outer, _gathering.launches = _gathering.launches, []
    try:
        yield _gathering.launches
    finally:
        _gathering.launches = outer
