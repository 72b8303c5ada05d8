"""An optimizer of your own: one class, whose signature is the schema.

    optrun run FILE --plugin PLUGIN
    optrun show MyOptimizer --plugin PLUGIN
    optrun smoke --optimizer MyOptimizer --plugin PLUGIN

Rename the class, put your formula into `update`, and say in the docstring what it is. `optrun guide plugins` explains
the signature and lists the functions that a rule may use. The contract tests are in a checkout of optrun:

    OPTRUN_TESTS_PLUGIN=$(realpath PLUGIN) python -m pytest -k MyOptimizer tests/optim tests/training
"""

from typing import Any

from optrun.optim import Optimizer
from optrun.registry import Decay, NonNegative


class MyOptimizer(Optimizer):
    """The heavy ball, Polyak (1964), doi:10.1016/0041-5553(64)90137-5.

        v ← μ v + g        θ ← θ - lr · v

    μ momentum.

    Example:

        optimizer: {name: MyOptimizer, lr: 1e-3, momentum: 0.9}
    """

    # Before the slash: parameters, gradient, number of the step (from 1). Then the state, which starts at zero. After
    # the star: hyperparameters. A float can be swept and scheduled; a rule may branch on a bool, not on a float.
    @staticmethod
    def update(
        p: Any, g: Any, t: Any, /, velocity: Any, *, lr: NonNegative = 1e-2, momentum: Decay = 0.9
    ) -> None:
        velocity[:] = momentum * velocity + g  # change state and parameters in place
        p -= lr * velocity
