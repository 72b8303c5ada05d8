"""The steps of gradient descent that are optimal for quadratics."""

from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from optrun.arrays import Array
from optrun.registry import Steps
from optrun.schedulers.scheduler import LRScheduler


class ChebyshevLR(LRScheduler):
    """Chebyshev's steps, which are optimal for gradient descent on quadratics, in a stable order.

    η(t) = 2 η₀ / (1 + 1/κ - (1 - 1/κ) · cos(π (2 k + 1) / (2 n))),  k = σ(t mod n);  n is total_steps, κ condition

    With an lr of 1 / L and a Hessian with eigenvalues between L / κ and L, n steps reduce the distance to the minimum
    at least by the factor 1 / Tₙ((κ + 1) / (κ - 1)), and no n steps reduce all such distances by more; Tₙ is
    Chebyshev's polynomial. The rates are between η₀ and κ η₀, and after n steps they start over. The order σ does not
    matter in exact arithmetic; in floating point, decreasing rates let the iterates grow first, increasing ones the
    rounding errors last. The fractal order of Lebedev & Finogenov (1971), recommended by Agarwal et al. (2021),
    arXiv:2103.01338, alternates large and small rates: σ₁ = (0), σ₂ₙ = (σₙ(0), 2 n - 1 - σₙ(0), σₙ(1), …). It is for
    powers of two; for any other n it is the order of the next one without what is beyond n.

    The loss grows on the way, at the first step by up to (κ - 1)², which a run takes for divergence unless
    stop.divergence is null.

    Example, for the quadratic problem with a condition of 100, an lr of 0.01 and stop: {divergence: null}:
    {name: ChebyshevLR, total_steps: 64, condition: 100}
    """

    @staticmethod
    def value(
        t: Any,
        base: Any,
        /,
        *,
        total_steps: Steps,
        condition: Annotated[float, Ge(1), "greatest eigenvalue of the Hessian over its least"] = 10.0,
        order: Literal["fractal", "decreasing", "increasing"] = "fractal",
    ) -> Any:
        turn = t % total_steps
        if order == "fractal":
            turn = _fractal(int(turn.max()) + 1, total_steps)[turn.astype(np.int64)]
        elif order == "increasing":
            turn = total_steps - 1.0 - turn
        inverse = 1.0 / condition
        node = np.cos(np.pi * ((2.0 * turn + 1.0) / (2.0 * total_steps)))
        return base * (2.0 / ((1.0 + inverse) - (1.0 - inverse) * node))


def _fractal(count: int, of: int) -> Array:
    """Return the first ``count`` numbers of the fractal order of 0 … of - 1."""
    bits = (of - 1).bit_length()
    # Of two that follow each other, one is in the lower half and so among them.
    place = np.arange(min(2 * count, 1 << bits))
    found = np.zeros_like(place)
    for level in range(1, bits + 1):
        found = np.where(place >> (bits - level) & 1, (1 << level) - 1 - found, found)
    return found[found < of][:count]
