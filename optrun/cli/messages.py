"""The stream of messages: what cannot be written there is lost, and ends nothing."""

import io
import os
from contextlib import suppress


class Messages(io.TextIOWrapper):
    """A text stream in place of another, whose descriptor leads nowhere once it cannot be written: nothing is raised.

    A disk may be full, a reader or a terminal gone, while the results that all is done for are written elsewhere.
    """

    @classmethod
    def of(cls, stream: io.TextIOWrapper) -> "Messages":
        """Return what takes the place of a stream, which is not to be used any more."""
        encoding, is_by_line = stream.encoding, stream.line_buffering
        return cls(stream.detach(), encoding, "replace", line_buffering=is_by_line, write_through=True)

    def write(self, text: str, /) -> int:
        """Write a text, or lose it."""
        try:
            return super().write(text)
        except OSError:
            self._lead_nowhere()
            return len(text)

    def flush(self) -> None:
        """Write what is left, or lose it."""
        try:
            super().flush()
        except OSError:
            self._lead_nowhere()

    def _lead_nowhere(self) -> None:
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
        with suppress(OSError):
            super().flush()
