"""Functions of one vector: where runs start, and noise on the gradient."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from optrun.arrays import Array, Arrays, stream
from optrun.errors import ConfigError
from optrun.problems.problem import Batches, Problem
from optrun.registry import NonNegative

Start = Annotated[list[float] | None, "where every run starts; by default the function's usual start"]
Noise = Annotated[NonNegative, "standard deviation of Gaussian noise added to the gradient, not to the loss"]


class VectorProblem(Problem, ABC):
    """A function of one vector "x" ``[dim]``, computed along the lanes: x is seen as ``[dim, B]``.

    Raises ConfigError where ``start`` has not ``dim`` numbers.
    """

    lane_fast = True

    def __init__(self, arrays: Arrays, *, start: Start = None, noise: Noise = 0.0) -> None:
        super().__init__(arrays)
        self._workspaces: dict[int, tuple[Array, ...]] = {}
        self.start = self._usual_start() if start is None else np.array(start, np.float64)
        self.noise = noise
        if self.start.shape != (self.dim,):
            raise ConfigError(
                f"start: {self.dim} numbers expected, one per dimension, not {len(self.start)}", field="start"
            )

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return 2

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"x": (self.dim,)}

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def minimizers(self) -> Sequence[Mapping[str, Array]]:
        return [{"x": np.array(point)} for point in self._minimizers()]

    def initial(self, seed: int) -> dict[str, Array]:
        return {"x": self.start}

    def batches(self, seeds: Sequence[int]) -> Batches:
        return GradientNoise(self.arrays, seeds, self.dim, self.noise) if self.noise else Batches()

    def loss_and_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any) -> Array:
        grad = grads["x"].T
        loss = self._value_and_grad(params["x"].T, grad)
        if batch is not None:
            self.arrays.xp.add(grad, batch, out=grad)
        return loss

    def evaluate(self, params: Mapping[str, Array]) -> dict[str, Array]:
        x = params["x"].T
        return {"loss": self.arrays.to_host(self._value_and_grad(x, self.scratch("grad", *x.shape)).copy())}

    def _value_and_grad(self, x: Array, grad: Array) -> Array:
        lanes = x.shape[1]
        if lanes not in self._workspaces:
            self._workspaces[lanes] = self._workspace(lanes)
        return self._compute(x, grad, *self._workspaces[lanes])

    @abstractmethod
    def _usual_start(self) -> Array: ...

    @abstractmethod
    def _minimizers(self) -> Sequence[Sequence[float]]: ...

    @abstractmethod
    def _workspace(self, lanes: int) -> tuple[Array, ...]:
        """Return the arrays that ``_compute`` writes its intermediate values to."""

    @abstractmethod
    def _compute(self, x: Array, grad: Array, *workspace: Array) -> Array:
        """Return the value ``[B]`` at x ``[dim, B]``, and write the gradient ``[dim, B]``.

        No operation overwrites one of its inputs: NumPy takes more than twice as long for a small array
        that overlaps another.
        """


class GradientNoise(Batches):
    """Noise ``[dim, B]`` of step t, drawn for ``BLOCK`` steps at a time from each lane's own stream."""

    BLOCK = 64

    def __init__(self, arrays: Arrays, seeds: Sequence[int], dim: int, scale: float) -> None:
        self.arrays = arrays
        self.seeds = list(dict.fromkeys(seeds))
        position = {seed: i for i, seed in enumerate(self.seeds)}
        self.lanes = [position[seed] for seed in seeds]
        self.dim = dim
        self.scale = scale
        self._block = -1
        self._noise: Array = arrays.empty((0,))

    def __getitem__(self, t: int) -> Array:
        block, step = divmod(t, self.BLOCK)
        if block != self._block:
            self._noise = self._draw(block)
            self._block = block
        noise: Array = self._noise[step]
        return noise

    def _draw(self, block: int) -> Array:
        shape = (self.BLOCK, self.dim)
        draws = [stream(seed, "gradient noise", block).standard_normal(shape) for seed in self.seeds]
        return self.arrays.array(self.scale * np.stack(draws, axis=-1)[:, :, self.lanes])
