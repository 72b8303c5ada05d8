"""A sweep whose runs are cut to a second or two: does every one of them work?"""

from collections.abc import Sequence
from dataclasses import replace

from optrun.config.shorten import SMOKE_STEPS, smoke
from optrun.config.sweep.rules import GRID
from optrun.sweeps.plan.expand import CONFIRM, Plan
from optrun.sweeps.plan.packs import Group
from optrun.training.pack import Pack


def shortened(plan: Plan, groups: Sequence[Group]) -> Plan:
    """Return a plan of the same settings, all of which run, each as `smoke` cuts a config.

    None is stopped at a rung or confirmed, nothing is expected, and no settings are added on the way. ``groups`` are
    those of the plan.
    """
    configs = list(plan.configs)
    for group in groups:
        first = configs[group.runs[0]]
        # Runs of one group are of one length.
        steps = Pack([first]).steps if first.steps is None else first.steps
        for run in group.runs:
            configs[run], _ = smoke(configs[run], steps)
    sweep = plan.swept.sweep
    # The settings are those of the plan: the method is one that stops and adds none, and that can read the parameters.
    method = "random" if sweep.draws else GRID
    block = sweep.model_copy(update={"method": method, CONFIRM: None})
    return replace(
        plan,
        swept=replace(plan.swept, sweep=block, expected=None),
        configs=configs,
        documents=[config.to_dict() for config in configs],
    )


def said() -> str:
    """Return in words what becomes of a sweep."""
    return f"smoke: at most {SMOKE_STEPS} steps of each run; every setting runs, and nothing is stored"
