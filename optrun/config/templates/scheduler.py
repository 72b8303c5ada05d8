"""A learning-rate schedule of your own: one function of the step, in closed form.

    optrun run FILE --plugin PLUGIN
    optrun curves --schedule FILE --plugin PLUGIN
    optrun smoke --scheduler MyScheduler --plugin PLUGIN

Rename the class, put your formula into `value`, and say in the docstring what it is; see `optrun guide plugins`. The
contract tests are in a checkout of optrun:

    OPTRUN_TESTS_PLUGIN=$(realpath PLUGIN) python -m pytest -k MyScheduler tests/schedulers/test_contract.py
"""

from typing import Any

import numpy as np

from optrun.registry import Steps
from optrun.schedulers import LRScheduler


class MyScheduler(LRScheduler):
    """The rate falls with the square root of time.

    η(t) = η₀ / √(1 + t / period)
    """

    # t counts steps from 0, [T, 1]; base is the initial rate, one number or one per lane. After the star: options. The
    # value must not depend on how the step was reached: a resumed run evaluates it again.
    @staticmethod
    def value(t: Any, base: Any, /, *, period: Steps = 100) -> Any:
        return base / np.sqrt(1 + t / period)
