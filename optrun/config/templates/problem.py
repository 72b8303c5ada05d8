"""A problem of your own: parameters, where they start, loss and gradient of all lanes at once.

    optrun run FILE --plugin PLUGIN
    optrun show my_problem --plugin PLUGIN
    optrun smoke --problem my_problem --plugin PLUGIN

Rename the class (a config names it in snake case), and put your function into `loss_and_grad` and `evaluate`; see
`optrun guide plugins`. The contract tests are in a checkout of optrun:

    OPTRUN_TESTS_PLUGIN=$(realpath PLUGIN) python -m pytest -k my_problem tests/problems/test_problem_contract.py
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from optrun.arrays import Array, Arrays, lane_sum, stream
from optrun.problems import Problem
from optrun.registry import Positive, PositiveInt


class MyProblem(Problem):
    """A bowl, from a random start.

        f(x) = ½ a Σ xᵢ²

    a curvature.
    """

    lane_fast = True  # every operation is elementwise along the lanes

    # Options are the keyword-only arguments; their bounds are checked before this is called.
    def __init__(
        self,
        arrays: Arrays,
        *,
        curvature: Annotated[Positive, "the second derivative a"] = 1.0,
        dim: Annotated[PositiveInt, "the number of dimensions"] = 3,
    ) -> None:
        super().__init__(arrays)
        self.curvature, self.dim = curvature, dim

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"x": (self.dim,)}

    # Optional: what is known of the solution, with which the tests compare.
    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def minimizers(self) -> Sequence[Mapping[str, Array]]:
        return [{"x": np.zeros(self.dim)}]

    def initial(self, seed: int) -> dict[str, Array]:
        return {"x": stream(seed, "initialisation").standard_normal(self.dim)}

    # Parameters and gradients are [lanes, dim], a loss is [lanes]. No operation mixes lanes; a step allocates nothing.
    def loss_and_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any) -> Array:
        self.arrays.xp.multiply(params["x"], self.curvature, out=grads["x"])
        return self._loss(params["x"])

    def evaluate(self, params: Mapping[str, Array]) -> dict[str, Array]:
        return {"loss": self.arrays.to_host(self._loss(params["x"]).copy())}

    def _loss(self, x: Array) -> Array:
        xp, terms = self.arrays.xp, self.scratch("terms", *x.shape)
        xp.multiply(x, x, out=terms)
        loss: Array = xp.multiply(lane_sum(terms), self.curvature / 2, out=self.scratch("loss", len(x)))
        return loss
