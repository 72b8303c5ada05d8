"""Paths of the config that give the streams of a run seeds of their own."""

REPEAT_SEEDS = (
    "sweep.repeats repeats each setting with other seeds; with seeds: {data: 0} the initial parameters alone differ, "
    "with seeds: {init: 0} the batches"
)
"""What to do in place of sweeping such a path."""


def is_of_seeds(path: str) -> bool:
    """Whether a path of the config is one of `seeds`: runs that differ there alone are repeats of one setting."""
    return path.partition(".")[0] == "seeds"
