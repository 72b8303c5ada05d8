"""Weight decay, in the same ways for every rule that has it."""

from typing import Any

from optrun.ops import where
from optrun.registry import DecayMode

LR_MAX = "decay.lr_max"
"""The hyperparameter η_max, which is lr unless it is given."""


def remainder(decay: DecayMode, p: Any, u: Any, lr: Any, weight_decay: Any, lr_max: Any) -> Any:
    """Return by what the parameters are multiplied before the update u is subtracted."""
    if decay == "independent":
        return 1 - weight_decay
    if decay == "corrected":
        return 1 - where(lr_max > 0, lr * lr / lr_max, 0.0) * weight_decay
    kept = 1 - lr * weight_decay
    return where(u * p >= 0, kept, 1.0) if decay == "cautious" else kept
