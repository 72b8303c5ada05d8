"""What a pack has made before it is split, interrupted or given up is kept, and what it held is let go."""

import gc
import signal
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest

import optrun
from optrun.config import from_mapping
from optrun.optim import SGD
from optrun.problems import regression
from optrun.store import Store
from optrun.sweeps.workers.task import Work
from optrun.training import checkpoints
from tests.sweeps.support import digest_of

STEPS = 30
BASE = {"problem": "quadratic", "optimizer": "SGD", "steps": STEPS}
RAISES = 2.0


def swept(rates, **more):
    return {**BASE, **more, "sweep": {"parameters": {"optimizer.lr": rates}}}


@pytest.fixture
def poisoned(monkeypatch):
    real = SGD.step

    def step(self, closure=None):
        if RAISES in np.ravel(self.param_groups[0]["lr"]):
            raise RuntimeError("no rate of 2")
        return real(self, closure)

    monkeypatch.setattr(SGD, "step", step)


def assert_as_alone(sweep, rates):
    with Store.open(sweep.path) as store:
        for run, rate in enumerate(rates):
            alone = optrun.run({**BASE, "optimizer": {"name": "SGD", "lr": rate}}, save=False)
            assert store.curves(run)["loss"].tobytes() == alone.curves["loss"].tobytes()
            assert store.params(run)["x"].tobytes() == alone.params["x"].tobytes()


@pytest.mark.usefixtures("poisoned")
def test_runs_beside_one_that_raises_pause_and_go_on():
    sweep = optrun.sweep(swept([1e-3, 2e-3, RAISES], checkpoint={"every": 10}))
    assert [str(state.status) for state in sweep.states] == ["completed", "completed", "failed"]
    assert_as_alone(sweep, [1e-3, 2e-3])


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(
    ("rates", "look", "kept"),
    [
        # The pack looks once, then its halves do so at each step.
        ([1e-3, 2e-3, RAISES], 1 + 20, [19, 0, 0]),
        ([1e-3, 2e-3, RAISES], 1 + STEPS + 1, [STEPS, 0, 0]),
        ([1e-3, 2e-3, RAISES], 1 + STEPS + 1 + 10, [STEPS, 9, 0]),
        ([RAISES, 1e-3, 2e-3], 1 + 1 + 10, [0, 9, 9]),
    ],
)
def test_an_interruption_keeps_what_the_halves_of_a_pack_have_made(rates, look, kept, monkeypatch):
    whole = digest_of(optrun.sweep(swept(rates), directory="whole"))
    looks, real = [], Work.execute

    def execute(work, interrupted, observe=None):
        def asked():
            looks.append(work)
            if len(looks) == look:
                signal.raise_signal(signal.SIGINT)
            return interrupted()

        return real(work, asked, observe)

    monkeypatch.setattr(Work, "execute", execute)
    part = optrun.sweep(swept(rates), directory="part")
    assert part.signal == signal.SIGINT
    assert [state.steps for state in part.states] == kept
    statuses = {0: "failed" if rates[0] == RAISES else "waiting", STEPS: "completed"}
    assert [str(state.status) for state in part.states] == [
        statuses.get(steps, "interrupted") for steps in kept
    ]
    assert digest_of(optrun.sweep(swept(rates), directory="part")) == whole


def test_where_a_failed_run_ends_all_the_packs_under_way_pause(monkeypatch):
    begun, real, made = threading.Event(), SGD.step, []

    def step(self, closure=None):
        if self.param_groups[0]["maximize"]:
            assert begun.wait(60)
            raise RuntimeError("maximizes nothing")
        made.append(0)
        if len(made) == 5:
            begun.set()
        return real(self, closure)

    monkeypatch.setattr(SGD, "step", step)
    data = {**BASE, "steps": 10**7, "record": {"every": 10**6}, "checkpoint": None}
    data["sweep"] = {"parameters": {"optimizer.maximize": [True, False]}}
    with ThreadPoolExecutor(2) as threads:
        sweep = optrun.sweep(data, executor=threads, jobs=2, fail_fast=True)
    assert [str(state.status) for state in sweep.states] == ["failed", "interrupted"]
    assert sweep.states[1].steps == len(made) >= 5


@pytest.mark.full
def test_a_cluster_of_the_user_is_left_idle_where_what_looks_on_raises():
    distributed = pytest.importorskip("distributed")

    def observe(progress):
        if progress.executed:
            raise OSError("the pipe is closed")

    data = {**BASE, "record": {"every": 10**6}, "checkpoint": None}
    data["sweep"] = {"parameters": {"steps": [5, 10**9]}}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        with pytest.raises(OSError, match="the pipe is closed"):
            optrun.sweep(data, executor="dask", address=cluster.scheduler_address, observe=observe)
        for place in client.scheduler_info()["workers"]:
            assert client.submit(abs, -1, workers=[place], pure=False).result(timeout=30) == 1


@pytest.mark.full
@pytest.mark.parametrize("is_here", [True, False])
def test_no_data_are_kept_once_a_sweep_is_over(is_here, monkeypatch):
    built, real = [], regression.SoftmaxRegression.__init__

    def noted(self, *args, **options):
        built.append(weakref.ref(self))
        real(self, *args, **options)

    seen = []

    def observe(progress):
        if progress.lane_steps and not seen:
            seen.append(progress)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(regression.SoftmaxRegression, "__init__", noted)
    data = swept([1e-3, 2e-3], problem={"name": "softmax_regression", "data": "iris"}, steps=10**5)
    with nullcontext() if is_here else ThreadPoolExecutor(1) as threads:
        how = {} if is_here else {"executor": threads, "jobs": 1}
        part = optrun.sweep({**data, "checkpoint": {"every": 10}}, observe=observe, **how)
        gc.collect()
        assert part.signal == signal.SIGINT
        assert len(built) > 1
        assert not any(problem() is not None for problem in built)


def test_the_key_of_a_config_is_made_once_and_goes_with_it(monkeypatch):
    made, real = [], checkpoints.canonical
    monkeypatch.setattr(checkpoints, "canonical", lambda document: made.append(0) or real(document))
    configs = [from_mapping({**BASE, "checkpoint": {"every": 10}, "seed": seed}) for seed in range(2)]
    work = Work(configs)
    while (results := work.execute(lambda: False))[0].goes_on:
        work = Work(configs, checkpoints=[each.checkpoint for each in results])
    assert len(made) == 2
    numbers = {id(config) for config in configs}
    assert numbers <= checkpoints._keys.keys()
    del configs, work, results
    gc.collect()
    assert not numbers & checkpoints._keys.keys()
