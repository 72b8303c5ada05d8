"""Optimizers, in order of increasing complexity."""

from optrun.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam, SparseAdam
from optrun.optim.adaptive import Adadelta, Adagrad, RMSprop, Rprop
from optrun.optim.averaging import EMA, SWA, Average
from optrun.optim.lbfgs import LBFGS
from optrun.optim.metrics import CurveMetric
from optrun.optim.optimizer import Optimizer
from optrun.optim.sgd import ASGD, SGD
from optrun.optim.tensors import Adafactor, Muon

__all__ = [
    "ASGD",
    "EMA",
    "LBFGS",
    "SGD",
    "SWA",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Average",
    "CurveMetric",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SparseAdam",
]
