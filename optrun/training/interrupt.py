"""Signals: the first one asks a run to stop at its next step, a second Ctrl-C or SIGTERM ends the process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ONCE = ("SIGINT", "SIGTERM")
_OFTEN = ("SIGHUP", "SIGUSR1")
"""A terminal that is gone says so several times, and so may a cluster whose time for a job is nearly over."""

SIGNALS = [getattr(signal, name) for name in (*_ONCE, *_OFTEN) if hasattr(signal, name)]
"""What asks a run to stop."""


class Interruption:
    """Remembers the first signal; called, it says whether there was one."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Catch `SIGNALS` within the block; elsewhere than in the main thread nothing is caught."""
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
    # Whoever started the process may have decided that a signal is ignored.
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
