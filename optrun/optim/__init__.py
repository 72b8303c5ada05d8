"""Optimizers, in order of increasing complexity."""

from optrun.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam, SparseAdam
from optrun.optim.adam_like import ADOPT, AdaBelief, AdaBound, LaProp, NAdamW, Yogi
from optrun.optim.adaptive import Adadelta, Adagrad, RMSprop, Rprop
from optrun.optim.averaging import EMA, SWA, Average
from optrun.optim.curved import AdaHessian, SophiaH
from optrun.optim.distance import DAdaptAdam, DAdaptSGD, DoG, DoWG, Prodigy
from optrun.optim.factored import CAME, SM3
from optrun.optim.layerwise import LAMB, LARS, AdamMini, NovoGrad
from optrun.optim.lbfgs import LBFGS
from optrun.optim.metrics import CurveMetric
from optrun.optim.mixes import MARS, Adan, AdEMAMix, QHAdam, SimplifiedAdEMAMix
from optrun.optim.momentum import COCOB, MADGRAD, QHM, AggMo
from optrun.optim.muon import AdaMuon, Muon, NorMuon, Scion
from optrun.optim.optimizer import Optimizer
from optrun.optim.polyak import MoMo, MoMoAdam, PolyakSGD
from optrun.optim.psgd import Kron
from optrun.optim.searched import GradientDescent, NonlinearCG
from optrun.optim.sgd import ASGD, SGD
from optrun.optim.shampoo import SOAP, Shampoo
from optrun.optim.signs import Lion, SignSGD, Signum
from optrun.optim.spectral import SGDHD, AdamHD, BarzilaiBorwein
from optrun.optim.tensors import Adafactor

__all__ = [
    "ADOPT",
    "ASGD",
    "CAME",
    "COCOB",
    "EMA",
    "LAMB",
    "LARS",
    "LBFGS",
    "MADGRAD",
    "MARS",
    "QHM",
    "SGD",
    "SGDHD",
    "SM3",
    "SOAP",
    "SWA",
    "AdEMAMix",
    "AdaBelief",
    "AdaBound",
    "AdaHessian",
    "AdaMuon",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamHD",
    "AdamMini",
    "AdamW",
    "Adamax",
    "Adan",
    "AggMo",
    "Average",
    "BarzilaiBorwein",
    "CurveMetric",
    "DAdaptAdam",
    "DAdaptSGD",
    "DoG",
    "DoWG",
    "GradientDescent",
    "Kron",
    "LaProp",
    "Lion",
    "MoMo",
    "MoMoAdam",
    "Muon",
    "NAdam",
    "NAdamW",
    "NonlinearCG",
    "NorMuon",
    "NovoGrad",
    "Optimizer",
    "PolyakSGD",
    "Prodigy",
    "QHAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
    "Scion",
    "Shampoo",
    "SignSGD",
    "Signum",
    "SimplifiedAdEMAMix",
    "SophiaH",
    "SparseAdam",
    "Yogi",
]
