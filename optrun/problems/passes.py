"""Passes over the lanes of a pack, a few lanes at a time, so that their arrays fit into the cache."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from optrun.arrays import Array, Arrays
from optrun.problems.layers import Layers, Matrices, Pass

MakePass = Callable[[tuple[int, int], int], Pass]
"""Returns the pass for a number of lanes, rows × seeds, and of samples."""


@dataclass(frozen=True)
class Tile:
    """Some of the lanes, rows × seeds, that use the same rows of a batch."""

    run: Pass
    matrices: Matrices
    grads: Sequence[Array]
    loss: Array
    """``[rows, seeds]``"""


@dataclass(frozen=True)
class Chunk:
    """The tiles that use the rows ``seeds`` of a batch."""

    seeds: slice
    tiles: Sequence[Tile]


class Passes:
    """All passes of B lanes on batches of n samples; lane i uses row i mod S of a batch.

    Arrays and views are created once, and bound to the given ``params`` and ``grads``. Without ``grads`` there are only
    forward passes.
    """

    def __init__(
        self,
        layers: Layers,
        params: Mapping[str, Array],
        grads: Mapping[str, Array],
        make_pass: MakePass,
        *,
        seeds: int,
        samples: int,
        lanes_at_once: int,
    ) -> None:
        self._arrays: Arrays = layers.arrays
        self._params, self._grads = dict(params), dict(grads)
        matrices, self._before = layers.matrices(params)
        gradients, after = layers.matrices(grads) if grads else ([], [])
        self._after = [(matrix, tensor) for tensor, matrix in after]
        lanes = len(matrices[0])
        rows = lanes // seeds
        self.loss = self._arrays.empty((lanes,))
        grid = [each.reshape(rows, seeds, *each.shape[1:]) for each in (*matrices, *gradients, self.loss)]
        whole = Matrices.of(grid[: len(matrices)], bool(layers.biases))
        self.chunks = []
        for some_seeds in _parts(seeds, lanes_at_once):
            width = some_seeds.stop - some_seeds.start
            tiles = []
            for some_rows in _parts(rows, max(1, lanes_at_once // width)):
                index = some_rows, some_seeds
                run = make_pass((some_rows.stop - some_rows.start, width), samples)
                *parts, loss = [each[index] for each in grid[len(matrices) :]]
                tiles.append(Tile(run, whole[index], parts, loss))
            self.chunks.append(Chunk(some_seeds, tiles))

    def is_bound_to(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> bool:
        """Return whether the passes are bound to these arrays."""
        return all(params[name] is array for name, array in self._params.items()) and all(
            grads[name] is array for name, array in self._grads.items()
        )

    def gather(self) -> None:
        """Copy parameters that are not adjacent in memory to their matrices."""
        for tensor, matrix in self._before:
            matrix[...] = tensor

    def scatter(self) -> None:
        """Copy gradients from their matrices to tensors that are not adjacent in memory."""
        for matrix, tensor in self._after:
            tensor[...] = matrix


def _parts(size: int, most: int) -> list[slice]:
    """Return slices of nearly equal size, at most ``most``, the larger ones first."""
    count = -(-size // most)
    least, larger = divmod(size, count)
    bounds = [i * least + min(i, larger) for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]
