"""The configs and seeds of many runs as columns: texts that they share, and the floats in which they differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.store.blocks import Block, shared
from optrun.store.json_pattern import JsonPattern


@dataclass(frozen=True)
class ConfigColumns:
    """Of each run the pattern of its config, the floats to fill in ``[n]`` by their places, and its seed.

    The seed is filled in behind the floats that the pattern has, as many as ``floats`` says.
    """

    patterns: Sequence[JsonPattern]
    floats: Sequence[int]
    codes: Array
    values: Sequence[Array]
    seeds: Array

    def __len__(self) -> int:
        return len(self.seeds)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Yield the text of each config, and the seed."""
        return ((self.text(place), int(seed)) for place, seed in enumerate(self.seeds))

    def text(self, place: int) -> str:
        """Return the JSON text of a config."""
        code = self.codes[place]
        floats = [float(values[place]) for values in self.values[: self.floats[code]]]
        text: str = self.patterns[code].text([*floats, int(self.seeds[place])])
        return text

    def part(self, places: slice | Array) -> "ConfigColumns":
        """Return those of some runs."""
        values = [each[places] for each in self.values]
        return ConfigColumns(self.patterns, self.floats, self.codes[places], values, self.seeds[places])

    def to_block(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what a block has of these configs."""
        used, codes = np.unique(self.codes, return_inverse=True)
        meta = {
            "patterns": [list(self.patterns[code].pieces) for code in used],
            "order": [list(self.patterns[code].order) for code in used],
            "floats": [self.floats[code] for code in used],
        }
        arrays = {"pattern": codes.astype(np.int32), "seed": self.seeds}
        arrays |= {f"value{i}": values for i, values in enumerate(self.values)}
        return meta, {name: shared(values) for name, values in arrays.items()}

    @classmethod
    def of_block(cls, block: Block) -> "ConfigColumns":
        """Return the configs in a block; StoreError where it is damaged."""
        patterns, orders, floats = block.lists("patterns", "order", "floats")
        if not len(patterns) == len(orders) == len(floats):
            raise block.fault("does not tell its configs")
        for pieces, order, count in zip(patterns, orders, floats, strict=True):
            is_filled = isinstance(pieces, list) and isinstance(order, list) and len(pieces) == len(order) + 1
            is_filled = is_filled and all(isinstance(each, str) for each in pieces)
            if type(count) is not int or not is_filled:
                raise block.fault("does not tell its configs")
            if not all(type(place) is int and 0 <= place <= count for place in order):
                raise block.fault("does not tell its configs")
        codes = block.codes("pattern", len(patterns))
        values = [block.column(f"value{i}", "f") for i in range(max(floats, default=0))]
        made = [JsonPattern(pieces, order) for pieces, order in zip(patterns, orders, strict=True)]
        return cls(made, floats, codes, values, block.column("seed", "i"))
