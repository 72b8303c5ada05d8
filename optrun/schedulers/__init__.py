"""Learning-rate schedules."""

from optrun.schedulers.closed_form import ConstantLR, CosineAnnealingLR, ExponentialLR, LinearLR, StepLR
from optrun.schedulers.composite import SequentialLR
from optrun.schedulers.scheduler import LRScheduler

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LinearLR",
    "SequentialLR",
    "StepLR",
]
