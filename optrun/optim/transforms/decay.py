"""Weight decay, in the same ways for every rule that has it."""

from typing import Any

from optrun.ops import maximum, where
from optrun.registry import DecayMode

LR_MAX = "decay.lr_max"
"""The hyperparameter η_max, which is lr unless it is given."""


def kept(decay: DecayMode, p: Any, u: Any, lr: Any, weight_decay: Any, lr_max: Any, own: Any) -> Any:
    """Return by what the parameters are multiplied before the update u is subtracted.

    ``own`` is what the rule itself would multiply them by, None if it decays by way of the gradient, or not at all.
    """
    if decay == "independent":
        return 1 - weight_decay
    if decay == "corrected":
        # A schedule may go beyond what is given as its highest rate.
        return 1 - where(lr_max > 0, lr * lr / maximum(lr_max, lr), 0.0) * weight_decay
    left = 1 - lr * weight_decay if own is None else own
    return where(u * p >= 0, left, 1.0) if decay == "cautious" else left
