"""Every optimizer with some schedulers, and the reverse: interrupted and resumed, a run is the one that was not."""

import numpy as np
import pytest

from optrun.config import from_mapping
from optrun.registry import optimizers, schedulers
from optrun.selftest import examples
from optrun.training.pack import Pack
from tests.pairs import pairs

STEPS, STOP = 14, 6


def config(optimizer, scheduler):
    mapping = {
        "problem": examples.problem("mlp"),
        "optimizer": examples.optimizer(optimizer),
        "scheduler": examples.scheduler(scheduler, STEPS, 1e-2),
        "steps": STEPS,
    }
    if not {"momentum", "beta1"} & optimizers.find(optimizer).options().keys():
        options = schedulers.find(scheduler).options()
        mapping["scheduler"] |= {name: False for name in ("cycle_momentum",) if name in options}
    return from_mapping(mapping)


def stepped(pack, start, stop):
    """Return the losses and rates of the steps from start on, and leave the pack before stop."""
    seen = []
    with np.errstate(all="ignore"):
        for t, loss in pack.iterate(start):
            if t == stop:
                break
            seen.append((loss.tobytes(), pack.optimizer.param_groups[0]["lr"]))
    return seen


@pytest.mark.full
@pytest.mark.parametrize(("optimizer", "scheduler"), pairs(optimizers, schedulers, rounds=1))
def test_a_resumed_run_is_the_uninterrupted_one(optimizer, scheduler):
    chosen = config(optimizer, scheduler)
    whole, first, second = (Pack([chosen]) for _ in range(3))
    expected = stepped(whole, 0, STEPS)
    before = stepped(first, 0, STOP)
    arrays, state = first.state()
    second.load_state({name: value.copy() for name, value in arrays.items()}, state)
    assert [*before, *stepped(second, STOP, STEPS)] == expected
    assert second.params.data.tobytes() == whole.params.data.tobytes()
