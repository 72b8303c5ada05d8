"""What is allowed, but hardly meant."""

import sys
from typing import TYPE_CHECKING

from optrun.config import RunConfig

if TYPE_CHECKING:
    from optrun.config.sweep import SweepConfig
    from optrun.sweep.expand import Plan


def note_idle(config: RunConfig) -> None:
    """Say on stderr which schedules have no effect."""
    if not config.schedules:
        return
    from optrun.analysis.schedule import idle

    for name in idle(config):
        said = f"schedules.{name} starts from optimizer.{name}, which is 0, and leaves it 0: give it a value"
        print(f"note: {said}", file=sys.stderr)


def note_equal(plan: "Plan") -> None:
    """Say on stderr how many settings of a sweep are left out because others are the same."""
    if plan.equal:
        are = "1 setting is" if plan.equal == 1 else f"{plan.equal:,} settings are"
        print(f"note: {are} equal to earlier ones, and not run again", file=sys.stderr)


def note_unbalanced(swept: "SweepConfig") -> None:
    """Say on stderr of how many Sobol' points are not balanced."""
    if swept.sweep.method != "sobol":
        return
    from optrun.sweep.spaces import spaces_of

    for trials in sorted({space.trials for space in spaces_of(swept)}):
        if trials.bit_count() != 1:
            better = 1 << trials.bit_length()
            said = (
                f"Sobol' points fill a space evenly at powers of 2: {better // 2} or {better}, not {trials}"
            )
            print(f"note: {said}", file=sys.stderr)
