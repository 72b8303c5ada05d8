"""Optimizers, in order of increasing complexity."""

from optrun.optim.adam import Adam, AdamW
from optrun.optim.optimizer import Optimizer
from optrun.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
