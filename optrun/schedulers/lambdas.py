"""Schedules by a function of one's own: a Python function, or in a config an expression in t."""

from typing import Annotated, Any

from optrun.schedulers.expression import Expression
from optrun.schedulers.scheduler import LRScheduler

OfTime = Annotated[Expression, "a function of t, such as 0.95 ** t"]


class LambdaLR(LRScheduler):
    """A function of the step times the rate.

    η(t) = η₀ · λ(t);  λ is lr_lambda
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, lr_lambda: OfTime) -> Any:
        return base * lr_lambda(t)


class MultiplicativeLR(LRScheduler):
    """A factor that is a function of the step, at every step.

    η(t) = η₀ · λ(1) · λ(2) ⋯ λ(t);  λ is lr_lambda

    Within a composite it counts from its own first step, where torch multiplies once too often.
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, lr_lambda: OfTime) -> Any:
        return base * lr_lambda.product(t)
