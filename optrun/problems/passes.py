"""Passes over the lanes of a pack, a few lanes at a time, so that their arrays stay in the cache."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from optrun.arrays import Array, Arrays
from optrun.problems.layers import Layers, Matrices, Pass

MakePass = Callable[[tuple[int, int], int], Pass]
"""Returns the arrays of so many lanes, as rows × seeds, and samples."""


@dataclass(frozen=True)
class Tile:
    """Some of the lanes that take their samples from the same rows of a batch, as rows × seeds."""

    run: Pass
    matrices: Matrices
    grads: Sequence[Array]
    loss: Array
    """``[rows, seeds]``"""


@dataclass(frozen=True)
class Chunk:
    """The tiles that share the rows ``seeds`` of a batch."""

    seeds: slice
    tiles: Sequence[Tile]


class Passes:
    """All passes of B lanes on batches of n samples; lane i takes row i mod S of a batch's S rows.

    Arrays and views are made here, once; they are those of ``params`` and ``grads`` as they are now. Without
    ``grads`` there are forward passes alone.
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

    def fit(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> bool:
        """Return whether these are the arrays that the passes are bound to."""
        return all(params[name] is array for name, array in self._params.items()) and all(
            grads[name] is array for name, array in self._grads.items()
        )

    def gather(self) -> None:
        """Copy the parameters in where they do not lie as the passes want them."""
        for tensor, matrix in self._before:
            matrix[...] = tensor

    def scatter(self) -> None:
        """Copy the gradients out where they do not lie as the passes want them."""
        for matrix, tensor in self._after:
            tensor[...] = matrix


def _parts(size: int, most: int) -> list[slice]:
    """Return slices of nearly equal sizes of at most ``most``, the larger ones first."""
    count = -(-size // most)
    least, larger = divmod(size, count)
    bounds = [i * least + min(i, larger) for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]
