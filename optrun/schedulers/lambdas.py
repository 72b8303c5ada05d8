"""Schedules given by a user function: Python code, or in a config an expression in t."""

from typing import Annotated, Any

from optrun.schedulers.function_of_time import FunctionOfTime
from optrun.schedulers.scheduler import LRScheduler

OfTime = Annotated[FunctionOfTime, "a function of t, such as 0.95 ** t"]


class LambdaLR(LRScheduler):
    """Multiply the initial learning rate by a function of the step.

    η(t) = η₀ · λ(t);  λ is lr_lambda
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, lr_lambda: OfTime) -> Any:
        return base * lr_lambda(t)


class MultiplicativeLR(LRScheduler):
    """Multiply the learning rate at every step by a function of the step.

    η(t) = η₀ · λ(1) · λ(2) ⋯ λ(t);  λ is lr_lambda

    Within a composite it counts from its own start, where torch multiplies once too often.
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, lr_lambda: OfTime) -> Any:
        return base * lr_lambda.product(t)
