"""Training: the visible loop, and what consumes its steps."""

from optrun.training.memory import Memory
from optrun.training.pack import Pack
from optrun.training.trainer import Progress, Sink, Trainer

__all__ = ["Memory", "Pack", "Progress", "Sink", "Trainer"]
