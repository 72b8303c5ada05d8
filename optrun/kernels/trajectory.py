"""Trajectories: many steps of a function of few elements by an elementwise rule, without going back to Python.

An engine runs the two listings as one loop: it takes a block of lanes, on a GPU one in each thread, makes all steps,
and takes the next block. So parameters, gradients and states stay in registers and in the nearest cache. Coefficients
that differ from step to step and from lane to lane are computed in the loop, of what steps and what lanes have in
common. Losses are written where they are recorded; a lane whose loss is no longer within its bounds is left with the
parameters of that step. The operations are those of single steps, so the bits are the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from optrun.arrays import Array
from optrun.kernels.deferred import Deferred
from optrun.kernels.lower import Listing


@dataclass(frozen=True)
class Stretch:
    """Coming steps of a rule: their program, and their coefficients."""

    steps: int
    rule: Listing
    shared: Array
    """Those that all lanes share, `[steps, K]` by index."""
    columns: Mapping[str, Array]
    """The others by name, each `[steps or 1, B]`, with room for a block of lanes behind it."""
    deferred: Mapping[str, Deferred]
    """Those that differ from step to step and from lane to lane, by name, which the loop computes."""
    buffers: Mapping[str, Array]
    """The parameters `[B, n]` and their states."""


@dataclass(frozen=True)
class Elements:
    """A function as a program of its elements: of `x0`, `x1`, …, it computes `loss0`, and `grad0`, `grad1`, …"""

    listing: Listing
    values: Array
    """Its coefficients by index."""
    columns: Mapping[str, Array]
    """Those that differ from lane to lane, by name, as a stretch has them: `[1, B]`."""


@dataclass(frozen=True)
class Watch:
    """What is seen of the steps of a stretch."""

    recorded: range
    """The steps whose losses are written; its start is one of the stretch, or beyond."""
    losses: Array
    """These losses, `[len(recorded) or more, B]`."""
    within: Array
    """The limit of the magnitude of each lane's loss, `[B]`."""
    above: Array
    """What the loss has to be above, `[1]`."""
    running: Array
    """Which lanes are watched, `[B]` of uint8; one whose loss is not within its bounds is no longer."""
    ended: Array
    """The step at which that was, `[B]` of intp."""
    last: Array
    """The loss of that step, `[B]`."""
    final: Array
    """The parameters of that step, before its update, `[B, n]`."""


@runtime_checkable
class TrajectoryEngine(Protocol):
    """An engine that makes many steps at once."""

    def is_worth(self, loop: str, instructions: int, lanes: int, steps: int) -> bool:
        """Whether a loop, of a name of its own, is to make so many steps of so many instructions for each lane."""
        ...

    def trajectory(self, function: Elements, stretch: Stretch, watch: Watch) -> Callable[[], None]:
        """Return the function that makes the steps of a stretch."""
        ...
