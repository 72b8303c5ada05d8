"""What is allowed, but hardly meant."""

import sys

from optrun.config import RunConfig


def note_idle(config: RunConfig) -> None:
    """Say on stderr which schedules have no effect."""
    if not config.schedules:
        return
    from optrun.analysis.schedule import idle

    for name in idle(config):
        said = f"schedules.{name} starts from optimizer.{name}, which is 0, and leaves it 0: give it a value"
        print(f"note: {said}", file=sys.stderr)
