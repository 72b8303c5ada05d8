"""Training: the visible loop, and what consumes its steps."""

from optrun.training.estimate import Estimate, estimate
from optrun.training.memory import Memory
from optrun.training.pack import Pack
from optrun.training.trainer import Progress, Sink, Trainer

__all__ = ["Estimate", "Memory", "Pack", "Progress", "Sink", "Trainer", "estimate"]
