"""JSON texts that differ in numbers alone, each made by filling in these."""

import json
import re
from collections.abc import Sequence
from typing import Self


class JsonPattern:
    """The JSON text of a document in which numbers are filled in between ``pieces``, by their places in ``order``."""

    def __init__(self, pieces: Sequence[str], order: Sequence[int]) -> None:
        self.pieces, self.order = pieces, order
        self._form = "%s".join(piece.replace("%", "%%") for piece in pieces)

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the pattern of a text in which `marks` stand for numbers."""
        return cls(_MARK.split(text)[::2], [int(place) for place in _MARK.findall(text)])

    @staticmethod
    def marks(count: int) -> list[str]:
        """Return what stands for each number in the document; no config holds such a text."""
        return [f"\0{place}\0" for place in range(count)]

    def text(self, numbers: Sequence[int | float]) -> str:
        """Return the text that JSON has with these numbers, which are finite."""
        # `repr` is what Python's encoder writes for an int or a float.
        return self._form % tuple([repr(numbers[place]) for place in self.order])


_MARK = re.compile(re.escape(json.dumps("\0")[:-1]) + r"([0-9]+)" + re.escape(json.dumps("\0")[1:]))
