"""Record torch's trajectories: `python -m tests.oracles.record` writes them where the tests read them."""

from functools import cache
from pathlib import Path

import numpy as np

from optrun.arrays import Array
from tests.oracles import rules, schedules, torch_rules

RECORDED = Path(__file__).with_name("torch.npz")
EVERY = 20


@cache
def recorded() -> dict[str, Array]:
    """Return what is recorded: rows 20, 40, … of each optimizer's trajectory, and each schedule's rates."""
    with np.load(RECORDED, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def sampled(trajectory: Array) -> Array:
    """Return the rows of a trajectory that are recorded: all of a short one."""
    return trajectory[EVERY - 1 :: EVERY] if len(trajectory) >= EVERY else trajectory


def main() -> None:
    import torch

    trajectories = {
        rules.label(name, options): sampled(torch_rules.trajectories(name, [options]))
        for name, options in rules.cases()
        if rules.has(torch.__version__, name, options)
    }
    trajectories |= {
        f"{rules.label(name, options)}, changing": sampled(
            torch_rules.trajectories(name, [options], changing=True)
        )
        for name, options in rules.changing_cases()
    }
    rates = {schedules.label(spec): schedules.torch_rates(spec) for spec in schedules.SCHEDULES}
    np.savez_compressed(RECORDED, torch_version=np.array(torch.__version__), **trajectories, **rates)
    print(f"{len(trajectories)} trajectories and {len(rates)} schedules of torch {torch.__version__}")


if __name__ == "__main__":
    main()
