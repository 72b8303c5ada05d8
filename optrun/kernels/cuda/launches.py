"""Device launches: executed at once, or collected so that they can be captured as a graph."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Launch = Callable[[], object]


class _Collector(threading.local):
    launches: list[Launch] | None = None


_collector = _Collector()


def launch(call: Launch) -> None:
    """Execute a launch, or collect it within `collect_launches`."""
    if _collector.launches is None:
        call()
    else:
        _collector.launches.append(call)


@contextmanager
def collect_launches() -> Iterator[list[Launch]]:
    """Collect the launches of this thread within the block, in order; the caller executes them."""
    outer, _collector.launches = _collector.launches, []
    try:
        yield _collector.launches
    finally:
        _collector.launches = outer
