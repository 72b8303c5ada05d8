"""Throughput in steps per second, and the format of durations."""

import time
from collections import deque

WINDOW_SECONDS = 3.0


class Throughput:
    """Steps per second over the last few seconds."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def update(self, step: int) -> None:
        """Record that a step has been reached; a lower step than before, as after a retry, counts as no progress."""
        now = time.monotonic()
        step = max(step, self._marks[-1][1] if self._marks else 0)
        while len(self._marks) > 1 and self._marks[1][0] < now - WINDOW_SECONDS:
            self._marks.popleft()
        self._marks.append((now, step))

    @property
    def rate(self) -> float | None:
        """Steps per second, or None before the second update."""
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - began) if ended > began else None


def clock(seconds: float) -> str:
    """Format a duration as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
