"""A stderr that ignores write errors: results must not be lost because messages cannot be shown."""

import io
import os
from contextlib import suppress


class Messages(io.TextIOWrapper):
    """A text stream that raises no OSError: after a failed write, its descriptor is redirected to the null device.

    Writes fail if the disk is full, or if the pipe or terminal is closed.
    """

    @classmethod
    def of(cls, stream: io.TextIOWrapper) -> "Messages":
        """Return the replacement of a stream, which is detached and must not be used any more."""
        encoding, is_by_line = stream.encoding, stream.line_buffering
        return cls(stream.detach(), encoding, "replace", line_buffering=is_by_line, write_through=True)

    def write(self, text: str, /) -> int:
        """Write a text; it is lost if writing fails."""
        try:
            return super().write(text)
        except OSError:
            self._redirect_to_null()
            return len(text)

    def flush(self) -> None:
        """Flush the buffer; its content is lost if writing fails."""
        try:
            super().flush()
        except OSError:
            self._redirect_to_null()

    def _redirect_to_null(self) -> None:
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
        with suppress(OSError):
            super().flush()
