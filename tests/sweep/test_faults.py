"""What goes wrong in a sweep is told, costs its own run alone, and can be tried again."""

import gc
import weakref
from collections import deque
from concurrent.futures import Future
from dataclasses import replace

import pytest

import optrun
from optrun import sweeps
from optrun.config import from_mapping
from optrun.config.sweep import sweep_from_mapping
from optrun.errors import RunFailedError, StateError, StoreError
from optrun.store import Status, Store
from optrun.sweep import worker, writer
from optrun.sweep.execution import Execution
from optrun.sweep.expand import expand
from optrun.sweep.packs import grouped
from optrun.sweep.worker import Work
from optrun.sweep.workers import Loss, Workers
from optrun.training.memory import Memory
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer

HALVING = {
    "problem": "quadratic",
    "optimizer": "SGD",
    "steps": 40,
    "sweep": {
        "method": "halving",
        "halving": {"min_steps": 10, "factor": 2},
        "parameters": {"optimizer.lr": {"logspace": [1e-4, 1e-2, 6]}},
    },
}


def prepared(data):
    plan = expand(sweep_from_mapping(data))
    return plan, grouped(plan)


def quadratics(count, **config):
    chosen = {"problem": "quadratic", "optimizer": "SGD", "steps": 6, **config}
    return [from_mapping({**chosen, "seed": seed}) for seed in range(count)]


def cannot_evaluate(monkeypatch, config):
    def evaluate(self, params):
        raise ValueError("no metrics")

    monkeypatch.setattr(type(Pack([config]).problem), "evaluate", evaluate)


@pytest.mark.parametrize("stop", [{}, {"target": 1e9}])
def test_a_run_whose_final_evaluation_raises_has_failed(stop, monkeypatch):
    (config,) = quadratics(1, stop=stop)
    cannot_evaluate(monkeypatch, config)
    with pytest.raises(RunFailedError, match="no metrics"):
        optrun.run(config, directory="run")
    stored = optrun.load_run("run")
    assert (stored.status, stored.summary) == (Status.FAILED, {})
    assert "ValueError: no metrics" in stored.reason


def test_runs_of_a_pack_whose_final_evaluation_raises_have_failed(monkeypatch):
    configs = quadratics(3)
    cannot_evaluate(monkeypatch, configs[0])
    results = worker.execute(configs, lambda: False)
    assert [each.state.status for each in results] == [Status.FAILED] * 3
    assert all("no metrics" in each.state.reason for each in results)


def test_a_run_does_not_go_on_from_the_state_of_another():
    plan, groups = prepared(HALVING)
    part = sweeps.sweep_plan(plan, groups, lanes=3, limit=6)
    waiting = [run for run, state in enumerate(part.states) if not state.status.final]
    assert len(waiting) > 1
    with Store.open(part.path, write=True) as store:
        kept = [store.checkpoint(run) for run in waiting]
        store.commit(checkpoints={waiting[0]: None})
    with pytest.raises(
        StoreError, match=rf"run {waiting[0]} is to go on from step 10, and has no checkpoint"
    ):
        optrun.sweep(HALVING)
    with Store.open(part.path, write=True) as store:
        store.commit(checkpoints={waiting[0]: kept[1], waiting[1]: kept[0]})
    again = optrun.sweep(HALVING)
    assert {again.states[run].status for run in waiting[:2]} == {Status.FAILED}
    assert "that of another run" in again.states[waiting[0]].reason


@pytest.mark.parametrize("other", [{"seed": 1}, {"optimizer": {"name": "SGD", "lr": 0.5}}])
def test_a_checkpoint_of_another_run_is_refused_and_one_that_does_not_tell_is_not(other):
    (config,) = quadratics(1)
    memory = Memory([config])
    Trainer(Pack([config]), memory, until=3).run()
    checkpoint = memory.checkpoint()
    different = from_mapping({**config.to_dict(), **other})
    with pytest.raises(StateError, match="at step 3 is that of another run"):
        Trainer(Pack([different]), Memory([different])).resume([checkpoint])
    Trainer(Pack([config]), memory).resume([checkpoint])
    untold = replace(checkpoint, meta={k: v for k, v in checkpoint.meta.items() if k != "run"})
    Trainer(Pack([config]), memory).resume([untold])


def test_what_a_pack_held_is_free_before_its_halves_are_built(monkeypatch):
    alive, real = [], Pack

    def pack(configs):
        alive.append(sum(each() is not None for each in built))
        made = real(configs)
        if len(configs) > 1:
            built.append(weakref.ref(made))
            made.iterate = exhausted
        return made

    def exhausted(*_):
        raise MemoryError

    built = []
    monkeypatch.setattr(worker, "Pack", pack)
    gc.disable()
    try:
        results = worker.execute(quadratics(4), lambda: False)
    finally:
        gc.enable()
    assert [each.state.status for each in results] == [Status.COMPLETED] * 4
    assert len(alive) == 7
    assert not any(alive)


def test_whoever_looks_on_costs_no_run_of_a_sweep(monkeypatch):
    monkeypatch.setattr(writer, "REPORT_SECONDS", 0.0)
    plan, groups = prepared(HALVING)

    def observe(progress):
        if progress.lanes:
            raise OSError("the pipe is closed")

    with pytest.raises(OSError, match="the pipe is closed"):
        sweeps.sweep_plan(plan, groups, observe=observe)
    assert not {state.status for state in optrun.sweep(HALVING).states} & {Status.FAILED}


def test_runs_that_time_ends_are_alone():
    data = {**HALVING, "sweep": {"parameters": {"optimizer.lr": [1e-3, 1e-2]}, "repeats": 4}}
    assert [group.width for group in prepared({**data, "stop": {"time": "1h"}})[1]] == [1]
    assert prepared(data)[1][0].width > 1


class Losing(Workers):
    """Loses every pack of several runs."""

    room = 1

    def __init__(self):
        self._losses = {}

    def submit(self, work: Work):
        future = Future()
        is_lost = len(work.configs) > 1
        future.set_result(None if is_lost else work.execute(lambda: False))
        self._losses[future] = Loss.OVERDUE if is_lost else None
        return future

    def loss(self, future):
        return self._losses.pop(future)

    def stop(self):
        pass

    def close(self):
        pass


def test_the_parts_of_a_pack_that_was_split_are_counted(monkeypatch):
    data = {**HALVING, "sweep": {"parameters": {"optimizer.lr": [1e-4, 1e-3, 1e-2, 2e-2]}}}
    plan, groups = prepared(data)
    monkeypatch.setattr(Execution, "workers", lambda *_: Losing())
    seen = deque()
    sweeps.sweep_plan(plan, groups, lanes=2, save=False, observe=seen.append)
    assert all(each.packs <= each.of_packs for each in seen)
    assert (seen[0].of_packs, seen[-1].packs, seen[-1].of_packs) == (2, 4, 4)
