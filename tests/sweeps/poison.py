"""A plugin for tests: what a run does depends on its rate."""

import os
import re
import signal
from pathlib import Path

import numpy as np

from optrun.optim import SGD

RAISES, ABORTS, KILLED, EXHAUSTS, LOOPS, LOOPS_IN_C, GROWS = 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0


class Poison(SGD):
    """SGD, but for the rates above."""

    def step(self, closure=None):
        """Make a step, or trouble."""
        rates = np.ravel(self.param_groups[0]["lr"])
        if RAISES in rates:
            raise RuntimeError("no rate of 2")
        if ABORTS in rates:
            os.abort()
        if KILLED in rates:
            os.kill(os.getpid(), signal.SIGKILL)
        if EXHAUSTS in rates:
            np.ones(1 << 50)
        if GROWS in rates:
            kept = []
            while True:
                kept.append(bytearray(1 << 26))
        while LOOPS in rates:
            pass
        if LOOPS_IN_C in rates:
            Path("looping").touch()
            re.match(r"(a+)+$", "a" * 60 + "b")  # never lets go of the interpreter
        return super().step(closure)
