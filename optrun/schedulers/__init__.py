"""Schedules of the learning rate, and of any other hyperparameter."""

from optrun.schedulers.annealing import SWALR, CosineAnnealingWarmRestarts, MultiStepLR, PolynomialLR
from optrun.schedulers.closed_form import ConstantLR, CosineAnnealingLR, ExponentialLR, LinearLR, StepLR
from optrun.schedulers.composite import ChainedScheduler, SequentialLR
from optrun.schedulers.cyclic import CyclicLR, OneCycleLR
from optrun.schedulers.function_of_time import FunctionOfTime
from optrun.schedulers.lambdas import LambdaLR, MultiplicativeLR
from optrun.schedulers.plateau import ReduceLROnPlateau
from optrun.schedulers.scheduler import LRScheduler

__all__ = [
    "SWALR",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "FunctionOfTime",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
