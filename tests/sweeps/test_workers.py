"""Whatever a worker does, the runs to blame are named and the others are complete; and nothing comes twice unseen."""

import json
import multiprocessing
import os
import re
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.config import from_mapping
from optrun.errors import ConfigError, MissingExtraError, RunFailedError
from optrun.store import Checkpoint, RunState, Status, Store
from optrun.sweeps.workers import base, dispatch
from optrun.sweeps.workers.base import CallerExecutor, Failure, Workers
from optrun.sweeps.workers.task import Result, Work
from tests.forked import python
from tests.sweeps import poison
from tests.sweeps.support import digest_of

IS_FULL = "OPTRUN_TESTS_SWEEP_KILLS" in os.environ
FEW_ON_DASK = [("2", poison.RAISES), ("2", poison.KILLED), ("1", poison.LOOPS)]
PLUGIN = str(Path(poison.__file__))
SMALL = """\
name: small
problem: {name: quadratic, dim: 3}
optimizer: {name: Poison}
steps: 20
"""
DATA = {
    "problem": "quadratic",
    "optimizer": "SGD",
    "steps": 20,
    "stop": {"divergence": None},
    "sweep": {"parameters": {"optimizer.lr": [0.01, 0.02, 0.03, 0.04]}, "repeats": 2},
}


def command(*arguments):
    return python("-m", "optrun", "sweep", *arguments)


def poisoned(rate, *options):
    """Sweep four rates, one of them a poison; return what was printed as JSON, and the code."""
    Path("small.yaml").write_text(SMALL)
    rates = f"optimizer.lr=0.001,0.002,{rate},0.004"
    done = command("small.yaml", rates, "--plugin", PLUGIN, "--json", *options)
    assert done.stderr.count("\n") == 1, done.stderr
    return json.loads(done.stdout), done.returncode


POISONS = {
    poison.RAISES: "RuntimeError: no rate of 2 (",
    poison.ABORTS: "its process died, 3 times",
    poison.KILLED: "its process died, 3 times",
    poison.EXHAUSTS: "MemoryError: Unable to allocate",
    poison.LOOPS: "no end after 2 s",
    poison.LOOPS_IN_C: "no end after 2 s",
}
ELSEWHERE = [
    (poison.RAISES, "1", "local"),
    (poison.LOOPS, "1", "local"),
    (poison.KILLED, "2", "dask"),
    (poison.LOOPS_IN_C, "1", "dask"),
]


@pytest.mark.full
@pytest.mark.parametrize(
    ("rate", "jobs", "executor"), [*((rate, "2", "local") for rate in POISONS), *ELSEWHERE]
)
def test_a_poisoned_run_is_named_and_the_others_are_complete(rate, jobs, executor):
    reason = POISONS[rate]
    if executor == "dask":
        pytest.importorskip("distributed")
        if not IS_FULL and (jobs, rate) not in FEW_ON_DASK:
            pytest.skip("a cluster takes seconds to start: OPTRUN_TESTS_SWEEP_KILLS asks for all")
    found, code = poisoned(rate, "-j", jobs, "--timeout", "2s", "--executor", executor)
    assert code == 1
    assert (found["left"], found["statuses"]) == (0, {"completed": 3, "failed": 1})
    assert [each["run"] for each in found["failed"]] == [2]
    assert found["failed"][0]["reason"].startswith(reason)


@pytest.mark.full
def test_memory_that_a_limit_denies_is_the_run_s_own_fault():
    Path("small.yaml").write_text(SMALL)
    rates = f"optimizer.lr=0.001,{poison.GROWS}"
    call = f"{sys.executable} -m optrun sweep small.yaml {rates} -j 2 --plugin {PLUGIN} --json"
    done = subprocess.run(["bash", "-c", f"ulimit -v 4000000; {call}"], capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert (done.returncode, found["statuses"]) == (1, {"completed": 1, "failed": 1}), done.stderr
    assert found["failed"][0]["run"] == 1
    assert found["failed"][0]["reason"].startswith("MemoryError")


@pytest.mark.full
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_fail_fast_ends_with_the_first_failed_run_and_says_what_is_left(jobs):
    Path("small.yaml").write_text(SMALL)
    # Integers in the steps: each a pack of its own.
    axes = ["optimizer.lr=2.0,0.001", "steps=10,11,12,13,14,15"]
    done = command("small.yaml", *axes, "--plugin", PLUGIN, "-o", "here", "-j", jobs, "--fail-fast")
    assert done.returncode == 1
    assert "no rate of 2" in done.stderr
    # What another process was executing may have paused within its steps.
    assert re.search(r" left(, of which \d go(es)? on from .*)?: the same command continues\n", done.stderr)
    again = command("small.yaml", *axes, "--plugin", PLUGIN, "-o", "here", "-j", jobs, "--json")
    assert json.loads(again.stdout)["statuses"] == {"completed": 6, "failed": 6}


@pytest.mark.full
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--executor", "dusk"), "unknown executor 'dusk': local or dask. Did you mean 'dask'?\n"),
        (("--timeout", "10"), "--timeout: must be a duration such as 500ms, 30s, 5m or 1h30m (got '10')\n"),
        (
            ("--address", "tcp://127.0.0.1:1"),
            "an address is that of a Dask scheduler: the executor is to be dask\n",
        ),
    ],
)
def test_a_mistake_in_an_option_is_one_line(options, said):
    Path("small.yaml").write_text(SMALL)
    done = command("small.yaml", "optimizer.lr=0.1,0.2", "--plugin", PLUGIN, *options)
    assert (done.returncode, done.stderr) == (2, said)


def test_without_dask_the_message_is_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match="python -m pip install 'distributed>=2025.1'"):
        optrun.sweep(DATA, executor="dask")


def test_an_executor_is_a_name_or_one():
    with pytest.raises(ConfigError, match="an executor is a name or a concurrent.futures.Executor, not int"):
        optrun.sweep(DATA, executor=3)


@pytest.mark.full
@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_an_executor_of_the_caller_gives_the_same_results_and_is_left_open(kind):
    whole = digest_of(optrun.sweep(DATA, directory="whole"))
    more = {"mp_context": multiprocessing.get_context("spawn")} if kind is ProcessPoolExecutor else {}
    with kind(2, **more) as executor:
        sweep = optrun.sweep(DATA, executor=executor, jobs=2)
        assert executor.submit(abs, -1).result() == 1
    assert digest_of(sweep) == whole


def test_dask_gives_the_same_results_at_home_and_by_an_address_and_through_its_executor():
    distributed = pytest.importorskip("distributed")
    whole = digest_of(optrun.sweep(DATA, directory="whole"))
    assert digest_of(optrun.sweep(DATA, directory="home", executor="dask", jobs=2)) == whole
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        address = cluster.scheduler_address
        assert digest_of(optrun.sweep(DATA, directory="far", executor="dask", address=address)) == whole
        assert digest_of(optrun.sweep(DATA, directory="ex", executor=client.get_executor())) == whole
        assert client.submit(abs, -1).result() == 1


def test_a_broken_executor_of_the_caller_ends_the_sweep_and_keeps_what_is_finished():
    class Breaks(Executor):
        taken = 0

        def submit(self, function, *arguments):
            future = Future()
            self.taken += 1
            if self.taken == 1:
                future.set_result(function(*arguments))
            else:
                future.set_exception(BrokenExecutor("it broke"))
            if self.taken > 2:
                raise BrokenExecutor("it broke")
            return future

    data = DATA | {"sweep": DATA["sweep"] | {"parameters": {"steps": [10, 20, 30]}}}
    with pytest.raises(RunFailedError, match="the executor takes no packs: it broke; the same sweep goes on"):
        optrun.sweep(data, executor=Breaks(), jobs=1, directory="here")
    with Store.open(Path("here")) as store:
        assert sum(state.status.final for state in store.states()) == 2


class Twice(Executor):
    """Seems to hang with the first pack, or the first from a rung, until its first half is through.

    The results of both then come at once, or those of the half never.
    """

    def __init__(self, spoil=lambda results: results, from_rung=False, half_comes=True):
        self.first = None
        self.spoil = spoil
        self.from_rung = from_rung
        self.half_comes = half_comes
        self.calls = []

    def submit(self, function, task):
        future = Future()
        self.calls.append((task,))
        if self.first is None and (task.work.checkpoints or not self.from_rung):
            future.set_running_or_notify_cancel()
            self.first = future, task
            return future
        results = function(task)
        if self.first and not self.first[0].done() and self.is_part(task):
            self.first[0].set_result(self.spoil(function(self.first[1])))
            if not self.half_comes:
                future.set_running_or_notify_cancel()
                return future
        future.set_result(results)
        return future

    def is_part(self, task):
        return task.work.configs[0] == self.first[1].work.configs[0]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(base, "GIVE_UP_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("save", [True, False])
def test_a_result_that_comes_twice_and_is_the_same_is_taken_once(save):
    seen = []
    executor = Twice()
    sweep = optrun.sweep(DATA, executor=executor, jobs=2, timeout=0.01, save=save, observe=seen.append)
    assert [len(task.work.configs) for (task,) in executor.calls] == [4, 4, 2]
    assert [state.status for state in sweep.states] == ["completed"] * 8
    assert (seen[-1].runs, seen[-1].executed) == (8, 8)
    whole = optrun.sweep(DATA, save=False)
    assert [run.summary for run in sweep.runs] == [run.summary for run in whole.runs]


HALVING = DATA | {
    "sweep": {
        "method": "halving",
        "halving": {"min_steps": 5, "factor": 2},
        "parameters": {"optimizer.lr": {"logspace": [1e-4, 1e-2, 16]}},
    }
}


@pytest.mark.full
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("save", [True, False])
@pytest.mark.parametrize("half_comes", [True, False])
@pytest.mark.parametrize("data", [DATA, HALVING], ids=["grid", "halving"])
def test_runs_that_came_late_are_not_executed_again(data, half_comes, save):
    executor = Twice(from_rung=data is HALVING, half_comes=half_comes)
    sweep = optrun.sweep(data, executor=executor, jobs=2, timeout=0.01, save=save)
    whole = optrun.sweep(data, save=save, directory="whole" if save else None)
    assert sweep.states == whole.states
    if save:
        assert digest_of(sweep) == digest_of(whole)
    given_up = executor.first[1].work
    later = executor.calls[executor.calls.index((executor.first[1],)) + 1 :]
    same_rung = [task.work.configs for (task,) in later if task.work.until == given_up.until]
    parts = [configs for configs in same_rung if any(each in given_up.configs for each in configs)]
    assert [len(configs) for configs in parts] == [len(given_up.configs) // 2]


def other_curve(results):
    first = results[0]
    curves = {name: values.copy() for name, values in first.curves.items()}
    curves["loss"][3] = np.nextafter(curves["loss"][3], np.inf)
    return [replace(first, curves=curves), *results[1:]]


def other_params(results):
    first = results[0]
    return [replace(first, params={name: -of for name, of in first.params.items()}), *results[1:]]


def other_end(results):
    return [replace(results[0], state=replace(results[0].state, steps=3)), *results[1:]]


@pytest.mark.full
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("save", [True, False])
@pytest.mark.parametrize("spoil", [other_curve, other_params, other_end])
def test_a_result_that_comes_twice_and_differs_is_an_error_that_names_the_run(spoil, save):
    with pytest.raises(RunFailedError, match="run 0 came twice, with other results the second time"):
        optrun.sweep(DATA, executor=Twice(spoil), jobs=2, timeout=0.01, save=save)


class Told(Workers):
    """Workers of which it is told what becomes of the packs."""

    room = 1

    def __init__(self, *outcomes):
        self.works, self.outcomes = [], list(outcomes)

    def submit(self, number, work):
        self.works.append(work)
        self.number = number

    def wait(self, seconds):
        return [(self.number, self.outcomes.pop(0))]

    def stop(self):
        pass

    close = stop


def test_a_pack_has_spent_what_its_attempt_has_and_once_workers_die_it_pauses_soon(monkeypatch):
    monkeypatch.setattr(dispatch, "LEAST_PAUSE_SECONDS", 1e6)  # so long ago no worker has died
    config = from_mapping({"problem": "beale", "optimizer": "SGD", "steps": 9})
    seconds = iter([3.0, 5.0, 9.0, 9.5])

    def work_of(pack):
        meta = {"step": 2, "seconds": next(seconds)}
        return Work([config], checkpoints=[Checkpoint({}, meta)])

    paused = Result(RunState(status=Status.RUNNING, steps=2), start=0, goes_on=True)
    ended = Result(RunState(status=Status.COMPLETED, steps=9), start=2)
    told = Told([paused], Failure.DIED, [paused], [ended])
    given = (work_of, told, lambda: False, lambda running: None, lambda: None)
    assert [pack for pack, _ in dispatch.Dispatch(*given).finished([[4]])] == [[4], [4], [4]]
    assert [work.spent for work in told.works] == [0.0, 2.0, 0.0, 0.5]
    assert [work.pause_seconds for work in told.works] == [np.inf, np.inf, 1e6, 1e6]


def test_what_an_executor_has_not_begun_is_cancelled():
    future = Future()

    class Waits(Executor):
        def submit(self, function, *arguments):
            return future

    workers = CallerExecutor(Waits(), 2, [], None)
    workers.submit(7, Work([from_mapping({"problem": "beale", "optimizer": "SGD", "steps": 1})]))
    workers.stop()
    assert future.cancelled()


@pytest.mark.usefixtures("impatient")
def test_threads_that_cannot_be_ended_are_named():
    class Hangs(Executor):
        def submit(self, function, *arguments):
            future = Future()
            future.set_running_or_notify_cancel()
            return future

    with pytest.raises(
        RunFailedError, match="no worker is left: each is in a pack that had no end after 0.01 s"
    ):
        optrun.sweep(DATA, executor=Hangs(), jobs=2, timeout="10ms")
