"""Line searches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Gradient = TypeVar("Gradient")


@dataclass(frozen=True)
class Point(Generic[Gradient]):
    """A point on the search line: step size, loss, gradient, and slope gᵀd."""

    step: float
    loss: float
    grad: Gradient
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], Point[Gradient]],
    start: Point[Gradient],
    step: float,
    largest: float,
    max_evaluations: int,
    *,
    tolerance_change: float = 1e-9,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[Point[Gradient], int]:
    """Return a point that satisfies the strong Wolfe conditions, or the best one found, and the number of evaluations.

        f(α) ≤ f(0) + c₁ α f′(0)        |f′(α)| ≤ -c₂ f′(0)

    The bracket is extended by up to a factor of ten at a time. Then cubic interpolation narrows it, until the
    conditions hold or its width times the direction's ``largest`` element is below ``tolerance_change``; Algorithms 3.5
    and 3.6 of Nocedal & Wright (2006) with torch's safeguards.
    """

    def is_too_high(point: Point[Gradient]) -> bool:
        return point.loss > start.loss + c1 * point.step * start.slope

    def is_flat(point: Point[Gradient]) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    before, now = start, evaluate(step)
    evaluated, searched = 1, 0
    bracket: list[Point[Gradient]] = []
    while searched < max_evaluations and not bracket:
        if is_too_high(now) or (searched > 1 and now.loss >= before.loss):
            bracket = [before, now]
        elif is_flat(now):
            return now, evaluated
        elif now.slope >= 0:
            bracket = [before, now]
        else:
            bounds = now.step + 0.01 * (now.step - before.step), now.step * 10
            before, now = now, evaluate(_cubic_minimizer(before, now, bounds))
            evaluated += 1
            searched += 1
    bracket = bracket or [start, now]
    low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
    stalled = False
    while searched < max_evaluations:
        left, right = sorted((bracket[0].step, bracket[1].step))
        if (right - left) * largest < tolerance_change:
            break
        step, stalled = _inside(_cubic_minimizer(bracket[0], bracket[1], (left, right)), left, right, stalled)
        now = evaluate(step)
        evaluated += 1
        searched += 1
        if is_too_high(now) or now.loss >= bracket[low].loss:
            bracket[high] = now
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
            continue
        if is_flat(now):
            return now, evaluated
        if now.slope * (bracket[high].step - bracket[low].step) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = now
    return bracket[low], evaluated


def _inside(step: float, left: float, right: float, stalled: bool) -> tuple[float, bool]:
    """Return the step size, moved a tenth of the bracket inwards if the last one was near a border, too."""
    margin = 0.1 * (right - left)
    if min(right - step, step - left) >= margin:
        return step, False
    if not (stalled or step >= right or step <= left):
        return step, True
    return (right - margin if abs(step - right) < abs(step - left) else left + margin), False


def _cubic_minimizer(a: Point[Gradient], b: Point[Gradient], bounds: tuple[float, float]) -> float:
    """Return the minimizer of the cubic through two points with slopes, clipped; the midpoint if there is none.

    d₁ = f′a + f′b - 3 (fa - fb) / (a - b),  d₂ = √(d₁² - f′a f′b);  Nocedal & Wright (2006), equation 3.59
    """
    if a.step > b.step:
        a, b = b, a
    width = b.step - a.step
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step) if width else float("nan")
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (bounds[0] + bounds[1]) / 2
    d2 = square**0.5
    curvature = b.slope - a.slope + 2 * d2
    if not curvature:
        return (bounds[0] + bounds[1]) / 2
    step: float = b.step - width * ((b.slope + d2 - d1) / curvature)
    return min(max(step, bounds[0]), bounds[1])
