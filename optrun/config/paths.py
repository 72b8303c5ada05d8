"""The steps of a dotted path, such as `optimizer.lr`, down a config."""

from optrun.config.model.options import SCHEDULES
from optrun.registry import TRANSFORMS


def steps_of(path: str) -> list[str]:
    """Return the steps of a path; below `schedules` the option of a transform, `gradient.0.max_norm`, is one key."""
    steps = path.split(".")
    for i, step in enumerate(steps):
        of = steps[i + 1 : i + 4]
        if step == SCHEDULES and len(of) == 3 and of[0] in TRANSFORMS and of[1].isdecimal():
            return [*steps[: i + 1], ".".join(of), *steps[i + 4 :]]
    return steps
