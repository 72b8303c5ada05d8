"""Schedules of the learning rate, and of any other hyperparameter."""

from optrun.schedulers.annealing import SWALR, CosineAnnealingWarmRestarts, MultiStepLR, PolynomialLR
from optrun.schedulers.chebyshev import ChebyshevLR
from optrun.schedulers.closed_form import ConstantLR, CosineAnnealingLR, ExponentialLR, LinearLR, StepLR
from optrun.schedulers.composite import ChainedScheduler, SequentialLR
from optrun.schedulers.cyclic import CyclicLR, OneCycleLR
from optrun.schedulers.decays import REXLR, WSD, InverseSqrtLR, TanhDecayLR
from optrun.schedulers.function_of_time import FunctionOfTime
from optrun.schedulers.lambdas import LambdaLR, MultiplicativeLR
from optrun.schedulers.piecewise import PiecewiseLR
from optrun.schedulers.plateau import ReduceLROnPlateau
from optrun.schedulers.scheduler import LRScheduler

__all__ = [
    "REXLR",
    "SWALR",
    "WSD",
    "ChainedScheduler",
    "ChebyshevLR",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "FunctionOfTime",
    "InverseSqrtLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PiecewiseLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "TanhDecayLR",
]
