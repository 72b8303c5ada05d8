"""What goes wrong in a sweep is told, costs its own run alone, and can be tried again."""

import gc
import pickle
import signal
import weakref
from collections import deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

import optrun
from optrun.analysis.summaries import summary_of, sweep_status
from optrun.api import sweeps
from optrun.config import from_mapping
from optrun.errors import RunFailedError, StateError, StoreError
from optrun.store import Checkpoint, Status, Store
from optrun.store.locate import RUNS
from optrun.sweeps import writer
from optrun.sweeps.options import Execution
from optrun.sweeps.sweep_store import directory_of
from optrun.sweeps.workers import task as work
from optrun.sweeps.workers.base import Failure, Workers
from optrun.sweeps.workers.task import Work
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
from tests.sweeps.support import digest_of, prepared

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
    results = Work(configs).execute(lambda: False)
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
    assert "belongs to another run" in again.states[waiting[0]].reason


@pytest.mark.parametrize("other", [{"seed": 1}, {"optimizer": {"name": "SGD", "lr": 0.5}}])
def test_a_checkpoint_of_another_run_is_refused_and_one_that_does_not_tell_is_not(other):
    (config,) = quadratics(1)
    memory = MemoryStore([config])
    Trainer(Pack([config]), memory, until=3).run()
    checkpoint = memory.checkpoint()
    different = from_mapping({**config.to_dict(), **other})
    with pytest.raises(StateError, match="at step 3 belongs to another run"):
        Trainer(Pack([different]), MemoryStore([different])).resume([checkpoint])
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
    monkeypatch.setattr(work, "Pack", pack)
    gc.disable()
    try:
        results = Work(quadratics(4)).execute(lambda: False)
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
    """Loses packs: every one of several runs, as far as it is not told which."""

    room = 1

    def __init__(self, loss=Failure.TIMED_OUT, loses=lambda work: len(work.configs) > 1):
        self._loss = loss
        self._loses = loses
        self._taken = []

    def submit(self, number: int, work: Work):
        self._taken.append((number, self._loss if self._loses(work) else work.execute(lambda: False)))

    def wait(self, seconds):
        return [self._taken.pop()]

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


def is_from_a_rung(work):
    return work.checkpoints is not None


def without_checkpoints(work):
    return replace(work, checkpoints=[Checkpoint({}) for _ in work.configs]) if is_from_a_rung(work) else work


@pytest.mark.parametrize("save", [True, False])
@pytest.mark.parametrize("end", ["dies", "cannot go on"])
def test_a_run_that_fails_after_a_rung_has_the_steps_of_its_rows(end, save, monkeypatch):
    plan, groups = prepared(HALVING)
    if end == "dies":
        monkeypatch.setattr(Execution, "workers", lambda *_: Losing(Failure.DIED, is_from_a_rung))
    else:
        real = Work.execute
        monkeypatch.setattr(Work, "execute", lambda work, *how: real(without_checkpoints(work), *how))
    seen = []
    sweep = sweeps.sweep_plan(plan, groups, save=save, observe=lambda now: seen.append(now.lane_steps))
    failed = [run for run in sweep.runs if run.status is Status.FAILED]
    assert len(failed) == 3
    assert [(run.steps, len(run.curves["step"])) for run in failed] == [(10, 10)] * 3
    assert seen == sorted(seen)
    assert seen[-1] == 60
    assert sum(state.steps for state in sweep.states) == 60


def kinds(path):
    with Store.open(path) as store:
        return [event.kind for event in store.events()]


def test_runs_that_were_in_no_pack_wait_and_leave_no_event():
    part = optrun.sweep(HALVING, limit=2)
    assert [str(state.status) for state in part.states] == ["interrupted"] * 2 + ["waiting"] * 4
    assert kinds(part.path).count("interrupted") == 2
    assert part.left == 6
    assert part.runs[5].status is Status.WAITING
    found = summary_of(part.path)
    assert (found.status, found.ended) == ("waiting", 0)
    optrun.sweep(HALVING, limit=2)
    assert kinds(part.path).count("interrupted") == 4


def test_a_sweep_that_reached_its_limit_waits_until_another_process_leaves_it():
    part = optrun.sweep(HALVING, limit=2)
    assert summary_of(part.path).status == "waiting"
    with Store.open(part.path, write=True):  # as a process that is interrupted before its first run
        pass
    assert summary_of(part.path).status == "interrupted"
    optrun.sweep(HALVING)
    assert summary_of(part.path).status == "completed"


def test_a_run_is_running_once_a_worker_has_its_pack_and_waits_again_where_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(writer, "REPORT_SECONDS", 0.0)
    plan, groups = prepared(HALVING)
    seen = []

    def observe(progress):
        if progress.lanes and not seen:
            with Store.open(directory_of(plan, RUNS)) as store:
                seen.extend(str(state.status) for state in store.states())
            signal.raise_signal(signal.SIGINT)

    part = sweeps.sweep_plan(plan, groups, lanes=3, observe=observe)
    assert seen == ["running"] * 3 + ["waiting"] * 3
    assert {state.status for state in part.states} <= {Status.WAITING, Status.INTERRUPTED}
    assert [state.steps > 0 for state in part.states] == [
        state.status is Status.INTERRUPTED for state in part.states
    ]


def test_a_run_is_running_too_while_its_pack_waits_in_a_worker_behind_another():
    plan, groups = prepared(HALVING)
    seen = []

    class Reads(Executor):
        def submit(self, function, task):
            with Store.open(directory_of(plan, RUNS)) as store:
                seen.append([str(state.status) for state in store.states()].count("running"))
            future = Future()
            if len(seen) == 1:
                self.first = future, task
                return future
            if len(seen) == 2:
                first, waited = self.first
                first.set_result(function(waited))
            future.set_result(function(task))
            return future

    sweeps.sweep_plan(plan, groups, lanes=2, executor=Reads(), jobs=2)
    assert seen[:2] == [2, 4]


def test_a_sweep_that_was_killed_tells_the_runs_that_never_began():
    plan, groups = prepared(HALVING)

    def observe(progress):
        if progress.packs == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweeps.sweep_plan(plan, groups, lanes=2, observe=observe)
    with Store.open(directory_of(plan, RUNS)) as store:
        assert [str(state.status) for state in store.states()] == ["running"] * 2 + ["waiting"] * 4
        assert sweep_status(store, store.states(), None) == "killed"


@pytest.mark.parametrize("method", ["grid", "halving"])
def test_runs_that_failed_are_tried_again_as_if_they_had_not(method, monkeypatch):
    data = {**HALVING, "evaluate": {"every": 4}, "sweep": {**HALVING["sweep"], "repeats": 2}}
    if method == "grid":
        data["sweep"] = {"parameters": data["sweep"]["parameters"], "repeats": 2}
    whole = optrun.sweep(data, directory="whole")
    plan, _ = prepared(data)
    last = next(run for run, state in enumerate(whole.states) if state.status is Status.COMPLETED)
    real = work.Work.execute

    def without_one(self, *given):
        results = real(self, *given)
        return [
            replace(each, state=work.failed("no luck"), checkpoint=None)
            if each.state.status.final and config == plan.configs[last]
            else each
            for config, each in zip(self.configs, results, strict=True)
        ]

    with monkeypatch.context() as patch:
        patch.setattr(work.Work, "execute", without_one)
        failed = optrun.sweep(data)
    assert [run for run, state in enumerate(failed.states) if state.status is Status.FAILED] == [last]
    assert optrun.sweep(data).states[last].status is Status.FAILED
    seen = []
    again = optrun.sweep(data, retry_failed=True, observe=seen.append)
    assert seen[-1].executed == 1
    assert kinds(again.path).count("reset") == 1
    assert digest_of(again) == digest_of(whole)
    assert not again.left


def test_a_run_that_failed_before_a_rung_stays_failed_where_the_decision_has_been_made():
    whole = optrun.sweep(HALVING)
    pruned = next(run for run, state in enumerate(whole.states) if state.status is Status.PRUNED)
    with Store.open(whole.path, write=True) as store:
        store.commit(states={pruned: work.failed("no luck")})
    again = optrun.sweep(HALVING, retry_failed=True)
    assert (again.states[pruned].status, again.states[pruned].reason) == (Status.FAILED, "no luck")


def test_later_generations_depend_on_the_runs_that_failed():
    pytest.importorskip("optuna")
    parameters = {"optimizer.lr": {"loguniform": [1e-4, 1e-2]}}
    data = {
        **HALVING,
        "sweep": {"method": "optuna", "trials": 4, "optuna": {"batch": 2}, "parameters": parameters},
    }
    whole = optrun.sweep(data)
    with Store.open(whole.path, write=True) as store:
        store.commit(states={1: work.failed("no luck")})
    with pytest.raises(StoreError, match="its later settings were chosen by how the runs did"):
        optrun.sweep(data, retry_failed=True)


@pytest.mark.full
def test_the_runs_of_a_sweep_are_read_by_one_reader(monkeypatch):
    opened, real = [], Store.open.__func__

    def counted(cls, path, **how):
        store = real(cls, path, **how)
        opened.append(weakref.ref(store))
        return store

    with optrun.sweep(HALVING) as sweep:
        monkeypatch.setattr(Store, "open", classmethod(counted))
        first = [run.curves["loss"].tobytes() for run in sweep.runs]
        with ThreadPoolExecutor(2) as threads:
            assert [
                each.curves["loss"].tobytes() for each in threads.map(sweep.runs.__getitem__, range(6))
            ] == first
        assert len(opened) == 1
        with Store.open(sweep.path, write=True) as store:
            store.commit(states={0: work.failed("no luck")})
        assert sweep.runs[0].status is Status.FAILED
        assert len(opened) == 2
    assert sweep.runs[1].curves["loss"].tobytes() == first[1]
    assert len(opened) == 3
    assert len(pickle.loads(pickle.dumps(sweep.runs))) == 6
    reader = sweep._runs._store
    del sweep
    gc.collect()
    with pytest.raises(StoreError, match="closed"):
        reader.states()
