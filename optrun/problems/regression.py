"""Linear, Huber, Poisson, logistic and softmax regression: convex problems on data."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np

from optrun.arrays import Array, Arrays, one_blas_thread
from optrun.errors import ConfigError, counted
from optrun.problems.activations import Relu
from optrun.problems.data import Dataset, DataSource
from optrun.problems.layers import Layers
from optrun.problems.losses import BinaryCrossEntropy, Loss
from optrun.problems.minima import Solution, Terms, elastic_net, huber, logistic, newton, poisson, softmax
from optrun.problems.number_losses import HuberLoss, PoissonLoss
from optrun.problems.scratch import Scratch
from optrun.problems.supervised import Supervised
from optrun.registry import Positive, snake_case


class Regression(Supervised, ABC):
    """One dense layer, "weight" ``[d, outputs]`` and "bias" ``[outputs]``, initialised to zero.

    Its minimum is computed when it is first asked for, in float64.
    """

    def __init__(self, arrays: Arrays, **options: Any) -> None:
        super().__init__(arrays, **options)
        self._solved: dict[tuple[float, float], Solution | None] = {}
        """Shared by the problems of all lanes."""

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

    def _loss_and_targets(self, dataset: Dataset) -> tuple[Loss, Array]:
        if self.task == "classification":
            name = snake_case(type(self).__name__)
            raise ConfigError(
                f"task: {name} fits numbers: logistic_regression or softmax_regression takes classes",
                field="task",
            )
        return self.loss_of(self.arrays, self.scratch, 0, vars(self)), dataset.values()

    def initial(self, seed: int) -> dict[str, Array]:
        return {name: np.zeros(shape) for name, shape in self.shapes.items()}

    @property
    def minimum(self) -> float | Array | None:
        found = [each.minimum for each in self._solutions if each is not None]
        if len(found) < len(self._solutions):
            return None
        return np.array(found) if self._differs else found[0]

    @property
    def minimizers(self) -> Sequence[Mapping[str, Array]]:
        solution = None if self._differs else self._solutions[0]
        if solution is None or not solution.is_unique:
            return ()
        size = self.layers.widths[0]
        values = {"weight": solution.theta[:size], "bias": solution.theta[size:].reshape(-1)}
        return [{name: values[name] for name in self.shapes}]

    @property
    def _differs(self) -> bool:
        """Whether lanes have minima of their own."""
        return np.ndim(self.l1) + np.ndim(self.l2) > 0

    @property
    def _solutions(self) -> list[Solution | None]:
        """The minimizer and the minimum of each lane, one where lanes share theirs; None where they are unknown."""
        lanes = list(zip(*np.broadcast_arrays(np.ravel(self.l1), np.ravel(self.l2)), strict=True))
        new = [at for at in dict.fromkeys(lanes) if at not in self._solved]
        if new:
            x, y = (self.arrays.to_host(array).astype(np.float64) for array in self.parts["train"])
            if self.layers.biases:
                x = np.column_stack([x, np.ones(len(x))])
            with one_blas_thread:
                self._solved |= {at: self._solve(x, y, *map(float, at)) for at in new}
        return [self._solved[at] for at in lanes]

    @abstractmethod
    def _solve(self, x: Array, y: Array, l1: float, l2: float) -> Solution | None:
        """Return the minimizer and the minimum of the objective with these penalties; None if it is unknown.

        ``x [n, d]`` has a column of ones if there is a bias.
        """

    def _by_newton(
        self, terms: Terms, x: Array, y: Array, l1: float, l2: float, *, may_be_free: bool = False
    ) -> Solution | None:
        """Return what Newton's method finds; None with l1, and unless it ``may_be_free`` without l2."""
        if l1 > 0 or not (l2 > 0 or may_be_free):
            return None
        weights = None if self.loss.weights is None else np.array(self.loss.weights)[y.astype(np.intp)]
        penalties = np.repeat([l2, 0.0], [self.layers.widths[0], len(self.layers.biases)])
        return newton(terms, x, y, self.loss.outputs, penalties, weights)


class LinearRegression(Regression):
    """Least squares; ridge regression with ``l2``, the lasso with ``l1``, an elastic net with both.

    f(w, b) = 1/n Σᵢ (wᵀxᵢ + b - yᵢ)² + l2/2 ‖w‖² + l1 ‖w‖₁
    """

    minimum_if = "with l1: 0, or up to 2,000 features"

    def __init__(self, arrays: Arrays, *, data: DataSource = "diabetes", **options: Any) -> None:
        super().__init__(arrays, data=data, **options)

    def _solve(self, x: Array, y: Array, l1: float, l2: float) -> Solution | None:
        return elastic_net(x, y, l1, l2, bias=bool(self.layers.biases))


class HuberRegression(Regression):
    """Regression that outliers of the target move little, Huber (1964), doi:10.1214/aoms/1177703732.

        f(w, b) = 1/n Σᵢ c (r - c/2) + l2/2 ‖w‖²        r = wᵀxᵢ + b - yᵢ,  c = r clipped to [-δ, δ]

    The minimum is known for l1 = 0, and up to 2,000 parameters, unless δ is too small for Newton's method.
    """

    minimum_if = "with l1: 0, up to 2,000 parameters, and a delta that is not tiny"

    def __init__(
        self,
        arrays: Arrays,
        *,
        data: DataSource = "diabetes",
        delta: Annotated[Positive, "the residual beyond which the loss is linear"] = 1.0,
        **options: Any,
    ) -> None:
        self.delta = delta
        super().__init__(arrays, data=data, **options)

    @classmethod
    def loss_of(cls, arrays: Arrays, scratch: Scratch, classes: int, options: Mapping[str, Any]) -> Loss:
        return HuberLoss(arrays, scratch, options["delta"])

    def _solve(self, x: Array, y: Array, l1: float, l2: float) -> Solution | None:
        return self._by_newton(partial(huber, self.delta), x, y, l1, l2, may_be_free=True)


class PoissonRegression(Regression):
    """Regression of counts, whose mean is e^(wᵀx + b); the target is not scaled.

        f(w, b) = 1/n Σᵢ exp(zᵢ) - yᵢ zᵢ + l2/2 ‖w‖²        zᵢ = wᵀxᵢ + b

    The minimum is known for l1 = 0, and up to 2,000 parameters. Raises ConfigError for a target below 0.
    """

    minimum_if = "with l1: 0, up to 2,000 parameters"

    def __init__(self, arrays: Arrays, *, data: DataSource = "diabetes", **options: Any) -> None:
        super().__init__(arrays, data=data, **options)

    def _loss_and_targets(self, dataset: Dataset) -> tuple[Loss, Array]:
        loss, counts = super()._loss_and_targets(dataset)
        if (least := counts.min()) < 0:
            raise ConfigError(
                f"data: the targets of {dataset.shown!r} begin at {least:g}: poisson_regression takes counts, ≥ 0",
                field="data",
            )
        return loss, counts

    @classmethod
    def loss_of(cls, arrays: Arrays, scratch: Scratch, classes: int, options: Mapping[str, Any]) -> Loss:
        return PoissonLoss(arrays, scratch)

    def _solve(self, x: Array, y: Array, l1: float, l2: float) -> Solution | None:
        return self._by_newton(poisson, x, y, l1, l2, may_be_free=True)


class LogisticRegression(Regression):
    """Binary logistic regression; the second class in sorted order is y = 1.

        f(w, b) = 1/n Σᵢ log(1 + exp(zᵢ)) - yᵢ zᵢ + l2/2 ‖w‖²        zᵢ = wᵀxᵢ + b

    The minimum is known for l2 > 0 and l1 = 0, and up to 2,000 parameters: without a penalty it may not exist.
    """

    minimum_if = "with l2 above 0 and l1: 0, up to 2,000 parameters"

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
        return self.loss_of(self.arrays, self.scratch, 2, vars(self)), codes

    @classmethod
    def loss_of(cls, arrays: Arrays, scratch: Scratch, classes: int, options: Mapping[str, Any]) -> Loss:
        return BinaryCrossEntropy(arrays, scratch)

    def _solve(self, x: Array, y: Array, l1: float, l2: float) -> Solution | None:
        return self._by_newton(logistic, x, y, l1, l2)


class SoftmaxRegression(Regression):
    """Multinomial logistic regression.

        f(W, b) = 1/n Σᵢ log Σⱼ exp(zᵢⱼ) - zᵢ,yᵢ + l2/2 ‖W‖²        zᵢ = Wᵀxᵢ + b

    The minimum is known for l2 > 0 and l1 = 0, and up to 2,000 parameters.
    """

    minimum_if = "with l2 above 0 and l1: 0, up to 2,000 parameters"

    def __init__(self, arrays: Arrays, *, data: DataSource = "digits", **options: Any) -> None:
        super().__init__(arrays, data=data, **options)

    def _loss_and_targets(self, dataset: Dataset) -> tuple[Loss, Array]:
        classes, codes = self._classes(dataset)
        return self.loss_of(self.arrays, self.scratch, len(classes), vars(self)), codes

    def _solve(self, x: Array, y: Array, l1: float, l2: float) -> Solution | None:
        return self._by_newton(softmax, x, y, l1, l2)
