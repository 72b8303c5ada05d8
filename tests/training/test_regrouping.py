"""A lane is the same in whatever packs it has been: lanes leave, pause, and go on among others."""

import random
from dataclasses import asdict

import numpy as np
import pytest

from optrun.config import from_mapping
from optrun.errors import StateError
from optrun.registry import averages, optimizers, schedulers
from optrun.selftest import examples
from optrun.store import Checkpoint, Status, Store
from optrun.sweeps.workers import task
from optrun.sweeps.workers.task import Work
from optrun.training.lane_tracker import LaneTracker
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
from tests.optim.samples import in_turn
from tests.pairs import few_in_short, pairs

STEPS, LANES = 14, 5
AVERAGES = [None, *({"name": name} for name in averages), {"name": "EMA", "start": 5, "every": 3}]


def configs(optimizer, scheduler, *, average=None, lanes=LANES, **more):
    options = optimizers.find(optimizer).options()
    schedule = examples.scheduler(scheduler, STEPS, 1e-2)
    if not {"momentum", "beta1"} & options.keys():
        schedule |= {
            name: False for name in ("cycle_momentum",) if name in schedulers.find(scheduler).options()
        }
    has_momentum = "momentum" in options and not {"cycle_momentum"} & schedule.keys()
    return [
        from_mapping(
            {
                "problem": examples.problem("mlp") | {"batch_size": 40},
                "optimizer": examples.optimizer(optimizer)
                | {"lr": 1e-2 * (1 + lane % 3)}
                # What a lane has no use for, its state lacks.
                | ({"momentum": (0.0, 0.9, 0.5)[lane % 3]} if has_momentum else {}),
                "scheduler": schedule,
                "average": average,
                "steps": STEPS,
                "seed": lane % 4,
                "record": {"every": 2, "metrics": ["update_norm"]},
                "evaluate": {"every": 3},
                "stop": {"patience": 1000},
                **more,
            }
        )
        for lane in range(lanes)
    ]


def stored(result):
    """Return all of a result, as bytes and plain values."""
    arrays = {
        f"{kind}/{name}": np.ascontiguousarray(values).tobytes()
        for kind in ("curves", "evaluations", "params")
        for name, values in getattr(result, kind).items()
    }
    return asdict(result.state) | {"seconds": None}, arrays  # the time is no result


def executed(chosen, **where):
    return Work(chosen, **where).execute(lambda: False)


def unpaused(chosen):
    """Return what lanes leave that are not asked to pause where a checkpoint is due."""
    memory = MemoryStore(chosen)
    Trainer(Pack(chosen), memory).run()
    return [stored(task._result(memory, lane, state)) for lane, state in enumerate(memory.states())]


def in_stages(chosen, stops, draws):
    """Return results of runs that are paused at some steps, and grouped anew each time."""
    memory = MemoryStore(chosen)
    waiting, at = list(range(len(chosen))), [None] * len(chosen)
    for until in [*stops, None]:
        draws.shuffle(waiting)
        left = []
        while waiting:
            batched = optimizers.find(chosen[0].optimizer.name).batched
            group = [waiting.pop() for _ in range(min(len(waiting), draws.randint(1, 4) if batched else 1))]
            where = None if at[group[0]] is None else [at[run] for run in group]
            for run, result in zip(
                group, executed([chosen[run] for run in group], until=until, checkpoints=where), strict=True
            ):
                memory.commit(
                    curves={run: result.curves} if result.curves else {},
                    evaluations={run: result.evaluations} if result.evaluations else {},
                    states={run: result.state},
                    params={run: result.params},
                )
                at[run] = result.checkpoint
                if not result.state.status.final:
                    assert (result.state.status, result.state.steps) == (Status.RUNNING, until)
                    left.append(run)
                else:
                    assert result.checkpoint is None
        waiting = left
    return memory


def everything(memory, run):
    return (
        asdict(memory.state(run)) | {"seconds": None},
        {
            f"{kind}/{name}": np.ascontiguousarray(values).tobytes()
            for kind in ("curves", "evaluations", "params")
            for name, values in getattr(memory, kind)(run).items()
        },
    )


@pytest.mark.parametrize(("optimizer", "scheduler"), few_in_short(pairs(optimizers, schedulers, rounds=1), 5))
def test_lanes_grouped_anew_at_any_steps_are_uninterrupted(optimizer, scheduler):
    draws = random.Random(f"{optimizer} {scheduler}")
    lanes = LANES if optimizers.find(optimizer).batched else 2
    chosen = configs(optimizer, scheduler, average=draws.choice(AVERAGES), lanes=lanes)
    staged = in_stages(chosen, sorted(draws.sample(range(1, STEPS), 2)), draws)
    for run, config in enumerate(chosen):
        assert everything(staged, run) == stored(executed([config])[0])


@pytest.mark.full
@pytest.mark.parametrize(("average", "optimizer"), in_turn(zip(AVERAGES), ("SGD", "Adam", "NAdam")), ids=str)
def test_averages_are_grouped_anew_with_their_lanes(optimizer, average):
    chosen = configs(optimizer, "ReduceLROnPlateau", average=average)
    staged = in_stages(chosen, [1, 4, 6, 7, 13], random.Random(0))
    for run, config in enumerate(chosen):
        assert everything(staged, run) == stored(executed([config])[0])


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    few_in_short(
        pairs([name for name in optimizers if optimizers.find(name).batched], schedulers, rounds=1), 3
    ),
)
def test_lanes_that_are_left_in_a_smaller_pack_are_the_same(optimizer, scheduler):
    chosen = configs(optimizer, scheduler, average={"name": "EMA", "decay": 0.8})
    whole, part, kept = Pack(chosen), Pack(chosen), [0, 3]

    def losses(pack, start, stop):
        with np.errstate(all="ignore"):
            return [loss.copy() for _, loss in pack.iterate(start, stop)]

    expected = losses(whole, 0, STEPS)
    losses(part, 0, 6)
    small = part.narrowed(kept)
    assert [each.tobytes() for each in losses(small, 6, STEPS)] == [
        each[kept].tobytes() for each in expected[6:]
    ]
    assert small.params.data.tobytes() == np.ascontiguousarray(whole.params.data[kept]).tobytes()
    for name, values in small.averaged().items():
        assert values.tobytes() == np.ascontiguousarray(whole.averaged()[name][kept]).tobytes()


def ending(stop, optimizer="Adam", lr=0.02, **more):
    """Configs of lanes that end at steps of their own."""
    return [
        from_mapping(
            {
                "problem": {"name": "rosenbrock", "noise": 0.1},
                "optimizer": {"name": optimizer, "lr": lr * (1 + lane)},
                "average": {"name": "EMA", "start": 20},
                "steps": 120,
                "seed": lane,
                "stop": stop,
                "record": {"every": 3, "metrics": ["update_norm"]},
                "evaluate": {"every": 10},
                **more,
            }
        )
        for lane in range(9)
    ]


@pytest.mark.full
@pytest.mark.parametrize("resumable", [False, True])
@pytest.mark.parametrize(
    ("stop", "rule"),
    [
        ({"target": 4.0}, {}),
        ({"patience": 5}, {}),
        ({"divergence": 1e30}, {"optimizer": "SGD", "lr": 1.4e-3}),
    ],
    ids=["target", "patience", "divergence"],
)
def test_lanes_that_end_leave_the_pack_and_change_nothing(stop, rule, resumable, monkeypatch):
    chosen = ending(stop, checkpoint={"every": 7}, **rule)
    widths = []
    narrowed = Pack.narrowed
    monkeypatch.setattr(MemoryStore, "resumable", resumable)
    monkeypatch.setattr(
        Pack, "narrowed", lambda pack, lanes: widths.append(len(lanes)) or narrowed(pack, lanes)
    )
    leaving = unpaused(chosen)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] <= 4
    assert len({state["steps"] for state, _ in leaving}) > 2
    monkeypatch.setattr(LaneTracker, "is_sparse", False)
    assert leaving == unpaused(chosen)
    assert leaving == [each for alone in chosen for each in unpaused([alone])]


def test_a_solo_run_goes_on_from_a_lane_and_the_reverse(tmp_path):
    chosen = configs("Adam", "CosineAnnealingLR", average={"name": "SWA"})
    whole = [stored(each)[1] for each in executed(chosen)]
    untold = {"seconds": 0, "alone": False}
    lanes = [each.checkpoint for each in executed(chosen, until=6)]
    alone = []
    for run, config in enumerate(chosen):
        path = tmp_path / str(run)
        document = (config.to_dict(), config.seed)
        with Store.create(
            tmp_path, "x", directory=path, config_yaml=config.to_yaml(), runs=[document]
        ) as store:
            calls = iter(range(STEPS))
            Trainer(Pack([config]), store, interrupted=lambda: next(calls) == 6).run()  # noqa: B023
            alone.append(store.checkpoint())
        assert alone[run].meta | untold == lanes[run].meta | untold
        assert {name: values.tobytes() for name, values in alone[run].arrays.items()} == {
            name: values.tobytes() for name, values in lanes[run].arrays.items()
        }
    for points in (lanes, alone):
        rest = executed(chosen, checkpoints=points)
        assert [stored(each)[1]["params/layer1.weight"] for each in rest] == [
            of["params/layer1.weight"] for of in whole
        ]


def test_the_figures_of_a_pause_are_those_of_a_run_of_so_many_steps():
    for until in (1, 6, STEPS - 1):
        paused = executed(configs("Adam", "ConstantLR", average={"name": "EMA", "start": 4}), until=until)
        short = executed(
            configs("Adam", "ConstantLR", average={"name": "EMA", "start": min(4, until)}, steps=until)
        )
        for one, other in zip(paused, short, strict=True):
            shared = {name: value for name, value in other.state.summary.items() if name in one.state.summary}
            assert dict(one.state.summary) == shared
            assert {"final_loss", "test_accuracy"} <= one.state.summary.keys()
            assert ("average_loss" in one.state.summary) is (until >= 4)


def test_a_pack_that_raises_goes_on_in_halves_from_its_checkpoints(monkeypatch):
    chosen = configs("Adam", "ConstantLR")
    whole = [stored(each)[1] for each in executed(chosen)]
    points = [each.checkpoint for each in executed(chosen, until=6)]
    iterate = Pack.iterate

    def short_of_memory(pack, *given):
        if pack.lanes > 2:
            raise MemoryError
        return iterate(pack, *given)

    monkeypatch.setattr(Pack, "iterate", short_of_memory)
    for one, other in zip(executed(chosen, checkpoints=points), whole, strict=True):
        assert stored(one)[1]["params/layer1.weight"] == other["params/layer1.weight"]


@pytest.mark.parametrize("part", ["step", "pack", "stopping", "arrays", "schedulers"])
def test_checkpoints_that_do_not_fit_together_are_refused(part):
    chosen = configs("Adam", "ReduceLROnPlateau")[:2]
    one, two = (each.checkpoint for each in executed(chosen, until=6))
    changed = {
        "step": {"step": 7},
        "pack": {"pack": {**two.meta["pack"], "problem": "other data"}},
        "stopping": {"stopping": {"best": [1.0, 2.0], "best_at": [0, 0]}},
        "schedulers": {"pack": {**two.meta["pack"], "schedulers": []}},
    }.get(part, {})
    arrays = {name: np.concatenate([values, values]) for name, values in two.arrays.items()}
    spoiled = Checkpoint(arrays if part == "arrays" else two.arrays, {**two.meta, **changed})
    trainer = Trainer(Pack(chosen), MemoryStore(chosen))
    trainer.resume([one, two])
    with pytest.raises(StateError):
        trainer.resume([one, spoiled])
    with pytest.raises(StateError):
        trainer.resume([one])


def test_an_evaluation_changes_no_loss_that_is_watched():
    """The loss of a function lies where its evaluation, at the average too, is computed."""
    schedule = {"name": "ReduceLROnPlateau", "patience": 2}
    common = {"scheduler": schedule, "average": {"name": "EMA", "decay": 0.9}}
    watched = ending({"patience": 5}, evaluate={"every": 1}, **common)
    plain = ending({"patience": 5}, evaluate={"every": None}, **common)
    for one, other in zip(executed(watched), executed(plain), strict=True):
        assert (one.state.reason, one.state.steps) == (other.state.reason, other.state.steps)
        assert one.curves["lr"].tobytes() == other.curves["lr"].tobytes()
