"""JSON texts that differ in numbers alone, each made by filling in these."""

import json
import re
from collections.abc import Sequence


class JsonPattern:
    """The JSON text of a document in which `marks` stand for numbers, which may be anywhere in it."""

    def __init__(self, text: str) -> None:
        self._pieces = _MARK.split(text)[::2]
        self._order = [int(place) for place in _MARK.findall(text)]

    @staticmethod
    def marks(count: int) -> list[str]:
        """Return what stands for each number in the document; no config holds such a text."""
        return [f"\0{place}\0" for place in range(count)]

    def text(self, numbers: Sequence[int | float]) -> str:
        """Return the text that JSON has with these numbers, which are finite."""
        # `repr` is what Python's encoder writes for an int or a float.
        filled = [repr(numbers[place]) for place in self._order]
        return (
            "".join([part for pair in zip(self._pieces, filled, strict=False) for part in pair])
            + self._pieces[-1]
        )


_MARK = re.compile(re.escape(json.dumps("\0")[:-1]) + r"([0-9]+)" + re.escape(json.dumps("\0")[1:]))
