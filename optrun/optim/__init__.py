"""Optimizers, in order of increasing complexity."""

from optrun.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam, SparseAdam
from optrun.optim.adaptive import Adadelta, Adagrad, RMSprop, Rprop
from optrun.optim.lbfgs import LBFGS
from optrun.optim.optimizer import Optimizer
from optrun.optim.sgd import ASGD, SGD
from optrun.optim.tensors import Adafactor, Muon

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SparseAdam",
]
