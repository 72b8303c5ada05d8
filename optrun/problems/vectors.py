"""Functions of one vector: initial points, and gradient noise."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np

from optrun.arrays import Array, Arrays, stream
from optrun.errors import ConfigError, counted
from optrun.kernels.capture import MOST_INSTRUCTIONS, Capture, Captured, captured
from optrun.kernels.stepper import Engine
from optrun.problems.problem import Batches, Problem
from optrun.registry import NonNegative

Start = Annotated[list[float] | None, "where every run starts; by default the function's usual start"]
Noise = Annotated[NonNegative, "standard deviation of Gaussian noise added to the gradient, not to the loss"]


MOST_DIMENSIONS = 10_000_000
"""Largest dimension of a test function: arrays of 80 MB in float64."""


class VectorProblem(Problem, ABC):
    """A function of one vector "x" ``[dim]``, computed for all lanes at once: x is ``[dim, B]``.

    Raises ConfigError unless ``start`` has ``dim`` numbers.
    """

    lane_fast = True
    pure: ClassVar[bool] = False
    """Whether `_compute` may be replaced by a captured loop; must be set in the class that defines `_compute`."""

    def __init__(self, arrays: Arrays, *, start: Start = None, noise: Noise = 0.0) -> None:
        super().__init__(arrays)
        self._workspaces: dict[int, tuple[Array, ...]] = {}
        self._bound: _Bound | None = None
        self.start = self._usual_start() if start is None else np.array(start, np.float64)
        self.noise = noise
        if self.start.shape != (self.dim,):
            raise ConfigError(
                f"start: {counted(self.dim, 'number')} expected, one per dimension, not {len(self.start)}",
                field="start",
            )

    @property
    def dim(self) -> int:
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

    def use(self, engine: Engine) -> None:
        super().use(engine)
        self._bound = None

    def loss_and_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any) -> Array:
        bound = self._bound
        if bound is None or bound.x is not params["x"] or bound.grad is not grads["x"]:
            bound = self._bound = self._bind(params["x"], grads["x"])
        loss = bound.step()
        if batch is not None:
            grad = grads["x"].T
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

    def _bind(self, x: Array, grad: Array) -> "_Bound":
        """Return the step bound to these arrays: a captured loop if possible, otherwise NumPy calls."""
        plain = _Bound(x, grad, lambda: self._value_and_grad(x.T, grad.T))
        if self.loops is None:
            return plain
        listed = self._captured
        # A loop needs all of its buffers in the same layout.
        if listed is None or not x.flags.forc or _strides(x) != _strides(grad):
            return plain
        buffers = {
            f"{name}{i}": array[:, i : i + 1]
            for name, array in (("x", x), ("grad", grad))
            for i in range(self.dim)
        }
        column = _column_like(x)
        losses: Array = column[:, 0]
        loss = losses

        def calls() -> None:
            nonlocal loss
            loss = self._value_and_grad(x.T, grad.T)

        run = self.loops.bind_captured(calls, listed, buffers | {"loss0": column, "p": x[:, :1]})

        def step() -> Array:
            nonlocal loss
            loss = losses
            run()
            return loss

        return _Bound(x, grad, step)

    @cached_property
    def _captured(self) -> Captured | None:
        """The captured `_compute` of one lane; None if it cannot be a loop."""
        own = vars(type(self))
        if not own.get("pure") or "_compute" not in own or self.dim > MOST_INSTRUCTIONS:
            return None

        def record(capture: Capture) -> dict[str, Array]:
            grad = capture.unwritten((self.dim, 1))
            workspace = [capture.constants(each) for each in self._workspace(1)]
            loss = self._compute(capture.inputs("x", self.dim, 1), grad, *workspace)
            return {"grad": grad, "loss": loss}

        return captured(record, self.arrays.dtype)

    @abstractmethod
    def _usual_start(self) -> Array: ...

    @abstractmethod
    def _minimizers(self) -> Sequence[Sequence[float]]: ...

    @abstractmethod
    def _workspace(self, lanes: int) -> tuple[Array, ...]:
        """Return the arrays to which ``_compute`` writes its intermediate values."""

    @abstractmethod
    def _compute(self, x: Array, grad: Array, *workspace: Array) -> Array:
        """Return the value ``[B]`` at x ``[dim, B]``, and write the gradient ``[dim, B]``.

        It reads from the workspace only what it has written, or constants from `_workspace`. No operation overwrites
        one of its operands: NumPy is more than twice as slow for small overlapping arrays.

        If its class sets ``pure = True``, it may be called once and captured as a loop that all later steps run. So it
        must make the same NumPy calls for any values, dtype and step, and read only x, what it has written, and
        constants.
        """


def _column_like(array: Array) -> Array:
    """Return a column ``[B, 1]`` with the same stride as an array's columns."""
    distance = array.strides[0] // array.itemsize
    column: Array = np.empty(len(array) * distance, array.dtype)[::distance, None]
    return column


def _strides(array: Array) -> list[int]:
    return [stride for stride, size in zip(array.strides, array.shape, strict=True) if size > 1]


@dataclass(frozen=True)
class _Bound:
    """The step of a problem, bound to arrays."""

    x: Array
    grad: Array
    step: Callable[[], Array]
    """Returns the loss."""


class GradientNoise(Batches):
    """Gradient noise ``[dim, B]`` of step t, drawn for ``BLOCK`` steps at a time from each lane's own stream."""

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
