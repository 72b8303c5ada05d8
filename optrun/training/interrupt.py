"""Signals: the first one stops a run at its next step, a second SIGINT or SIGTERM ends the process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ONCE = ("SIGINT", "SIGTERM")
_OFTEN = ("SIGHUP", "SIGUSR1")
"""Signals that may arrive several times: from a closed terminal, or from a cluster before a job's time limit."""

SIGNALS = [getattr(signal, name) for name in (*_ONCE, *_OFTEN) if hasattr(signal, name)]
"""Signals that stop a run."""


class Interruption:
    """Remembers the first signal; calling it tells whether there was one."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Catch `SIGNALS` within the block; outside of the main thread, which alone may do so, catch nothing."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def note(number: int, frame: FrameType | None) -> None:
        interruption.signal = interruption.signal or number
        for caught, handler in previous.items():
            if signal.Signals(caught).name in _ONCE:
                signal.signal(caught, handler)

    handlers = {caught: signal.getsignal(caught) for caught in SIGNALS}
    # A signal that the parent process ignores stays ignored.
    previous = {
        caught: handler for caught, handler in handlers.items() if handler not in (signal.SIG_IGN, None)
    }
    for caught in previous:
        signal.signal(caught, note)
    try:
        yield interruption
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)
