"""Linear, logistic and softmax regression: convex problems on data."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np

from optrun.arrays import Array, Arrays, one_blas_thread
from optrun.errors import ConfigError, counted
from optrun.problems.activations import Relu
from optrun.problems.data import Dataset, DataSource
from optrun.problems.layers import Layers
from optrun.problems.losses import BinaryCrossEntropy, Loss
from optrun.problems.scratch import Scratch
from optrun.problems.supervised import Supervised


class Regression(Supervised, ABC):
    """One dense layer, "weight" ``[d, outputs]`` and "bias" ``[outputs]``, initialised to zero."""

    @classmethod
    def layers_of(
        cls, arrays: Arrays, features: int, outputs: int, bias: bool, options: Mapping[str, Any]
    ) -> Layers:
        return Layers(arrays, [features, outputs], prefixes=[""], bias=bias, activation=Relu)

    def _classes(self, dataset: Dataset) -> tuple[Array, Array]:
        """Return the classes and the class index of each sample; ConfigError if the task is regression."""
        if self.task == "regression":
            raise ConfigError(
                "task: this problem takes classes: linear_regression fits numbers", field="task"
            )
        return dataset.labels() if self.task is None else dataset.classes()

    def initial(self, seed: int) -> dict[str, Array]:
        return {name: np.zeros(shape) for name, shape in self.shapes.items()}


class SolvedRegression(Regression, ABC):
    """A regression with one output, whose minimizer is computed in float64."""

    @abstractmethod
    def _solve(self, x: Array, y: Array, penalties: Array) -> tuple[Array, float] | None:
        """Return the minimizer and the minimum of ``loss(x θ, y) + ½ Σ penalties θ²``; None if unknown."""

    def for_lanes(self, numbers: Mapping[str, Any]) -> Self:
        made = super().for_lanes(numbers)
        vars(made).pop("_solutions", None)
        return made

    @cached_property
    def _solutions(self) -> list[tuple[Array, float] | None]:
        """The minimizer and the minimum of each lane, one where lanes share l2; None where they are unknown."""
        x, y = (self.arrays.to_host(array).astype(np.float64) for array in self.parts["train"])
        size = x.shape[1]
        if self.layers.biases:
            x = np.column_stack([x, np.ones(len(x))])
        strengths = [float(each) for each in np.ravel(self.l2)]
        with one_blas_thread:
            found = {
                l2: self._solve(x, y, np.where(np.arange(x.shape[1]) < size, l2, 0.0)) for l2 in {*strengths}
            }
        return [found[l2] for l2 in strengths]

    @property
    def minimum(self) -> float | Array | None:
        minima = [each[1] for each in self._solutions if each is not None]
        if len(minima) < len(self._solutions):
            return None
        return np.array(minima) if np.ndim(self.l2) else minima[0]

    @property
    def minimizers(self) -> Sequence[Mapping[str, Array]]:
        solution = None if np.ndim(self.l2) else self._solutions[0]
        if solution is None:
            return ()
        size = self.layers.widths[0]
        values = {"weight": solution[0][:size, None], "bias": solution[0][size:]}
        return [{name: values[name] for name in self.shapes}]


class LinearRegression(SolvedRegression):
    """Least squares, with a ridge penalty if l2 > 0.

    f(w, b) = 1/n Σᵢ (wᵀxᵢ + b - yᵢ)² + l2/2 ‖w‖²
    """

    def __init__(self, arrays: Arrays, *, data: DataSource = "diabetes", **options: Any) -> None:
        super().__init__(arrays, data=data, **options)

    def _loss_and_targets(self, dataset: Dataset) -> tuple[Loss, Array]:
        if self.task == "classification":
            raise ConfigError(
                "task: linear_regression fits numbers: logistic_regression or softmax_regression takes classes",
                field="task",
            )
        return self.loss_of(self.arrays, self.scratch, 0), dataset.values()

    def _solve(self, x: Array, y: Array, penalties: Array) -> tuple[Array, float]:
        # The penalty equals the loss of additional samples with target 0.
        x = np.concatenate([x / np.sqrt(len(x)), np.diag(np.sqrt(penalties / 2))])
        y = np.concatenate([y / np.sqrt(len(y)), np.zeros(len(penalties))])
        theta = np.linalg.lstsq(x, y)[0]
        return theta, float(np.sum((x @ theta - y) ** 2))


class LogisticRegression(SolvedRegression):
    """Binary logistic regression; the second class in sorted order is y = 1.

        f(w, b) = 1/n Σᵢ log(1 + exp(zᵢ)) - yᵢ zᵢ + l2/2 ‖w‖²        zᵢ = wᵀxᵢ + b

    The minimum is known only for l2 > 0 and without class weights: without a penalty it may not exist.
    """

    def __init__(self, arrays: Arrays, *, data: DataSource = "breast_cancer", **options: Any) -> None:
        super().__init__(arrays, data=data, **options)

    def _loss_and_targets(self, dataset: Dataset) -> tuple[Loss, Array]:
        classes, codes = self._classes(dataset)
        if len(classes) != 2:
            raise ConfigError(
                f"data: {dataset.name!r} has {counted(len(classes), 'class')}, logistic_regression needs 2:"
                " softmax_regression takes more",
                field="data",
            )
        return self.loss_of(self.arrays, self.scratch, 2), codes

    @classmethod
    def loss_of(cls, arrays: Arrays, scratch: Scratch, classes: int) -> Loss:
        return BinaryCrossEntropy(arrays, scratch)

    def _solve(self, x: Array, y: Array, penalties: Array) -> tuple[Array, float] | None:
        is_known = penalties.any() and self.loss.weights is None
        return _newton(x, y, penalties) if is_known else None


class SoftmaxRegression(Regression):
    """Multinomial logistic regression.

    f(W, b) = 1/n Σᵢ log Σⱼ exp(zᵢⱼ) - zᵢ,yᵢ + l2/2 ‖W‖²        zᵢ = Wᵀxᵢ + b
    """

    def __init__(self, arrays: Arrays, *, data: DataSource = "digits", **options: Any) -> None:
        super().__init__(arrays, data=data, **options)

    def _loss_and_targets(self, dataset: Dataset) -> tuple[Loss, Array]:
        classes, codes = self._classes(dataset)
        return self.loss_of(self.arrays, self.scratch, len(classes)), codes


def _newton(x: Array, y: Array, penalties: Array) -> tuple[Array, float]:
    """Return the minimizer and the minimum of the penalized logistic loss, by Newton's method with step halving."""
    theta = np.zeros(x.shape[1])
    value = _logistic(x, y, penalties, theta)
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ theta, -500, 500)))
        gradient = x.T @ (p - y) / len(y) + penalties * theta
        if np.abs(gradient).max() < 1e-13:
            break
        hessian = (x.T * (p * (1 - p) / len(y))) @ x + np.diag(penalties)
        step, scale = np.linalg.solve(hessian, gradient), 1.0
        while (trial := _logistic(x, y, penalties, theta - scale * step)) > value and scale > 1e-10:
            scale /= 2
        theta, value = theta - scale * step, trial
    return theta, value


def _logistic(x: Array, y: Array, penalties: Array, theta: Array) -> float:
    z = x @ theta
    return float(np.mean(np.logaddexp(0, z) - y * z) + 0.5 * np.sum(penalties * theta**2))
