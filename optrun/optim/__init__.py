"""Optimizers, in order of increasing complexity."""

from optrun.optim.adam import Adam, AdamW
from optrun.optim.averaging import EMA, SWA, Average
from optrun.optim.optimizer import Optimizer
from optrun.optim.sgd import SGD

__all__ = ["EMA", "SGD", "SWA", "Adam", "AdamW", "Average", "Optimizer"]
