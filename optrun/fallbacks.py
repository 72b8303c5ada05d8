"""What optrun goes on without: each has a debug line of the logger `optrun`.

`--verbose` shows these lines, except those of worker processes.
"""

import logging
from contextlib import AbstractContextManager
from types import TracebackType

log = logging.getLogger("optrun")


class Fallback(AbstractContextManager[None, bool]):
    """Goes on behind the block where it raises one of these errors, and logs what is done without it."""

    def __init__(self, what: str, *errors: type[Exception]) -> None:
        self._what = what
        self._errors = errors

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, self._errors):
            return False
        log.debug("%s (%s: %s)", self._what, type(error).__name__, error)
        return True
