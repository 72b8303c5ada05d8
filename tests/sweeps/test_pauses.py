"""A sweep whose packs pause where a checkpoint is due is the one that does not, whatever ends it in between."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import optrun
from optrun.api import sweeps
from optrun.problems import regression
from optrun.store import Status, Store
from optrun.sweeps import writer
from optrun.sweeps.options import Execution
from optrun.sweeps.workers import base, dispatch, task, worker_process
from optrun.sweeps.workers.base import Failure, Workers
from optrun.sweeps.workers.task import Work
from optrun.training.trainer import Trainer
from tests.sweeps.support import digest_of, prepared
from tests.sweeps.test_workers import Twice

GRID = {
    "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 32},
    "optimizer": "Adam",
    "scheduler": {"name": "ReduceLROnPlateau", "patience": 2},
    "average": {"name": "ema", "decay": 0.9},
    "stop": {"target": 0.42},
    "steps": 60,
    "evaluate": {"every": 7},
    "record": {"metrics": ["lr", "update_norm"], "every": 2},
    "checkpoint": {"every": 9},
    "sweep": {
        "parameters": {"optimizer.lr": [1e-3, 3e-2, 1e-1], "optimizer.amsgrad": [False, True]},
        "repeats": 2,
    },
}
HALVING = GRID | {
    "stop": {},
    "sweep": GRID["sweep"] | {"method": "halving", "halving": {"min_steps": 20, "factor": 2}},
}


@pytest.fixture(params=[GRID, HALVING], ids=["grid", "halving"])
def data(request):
    return request.param


@pytest.fixture
def whole(data, monkeypatch):
    """The digest of a sweep whose packs do not pause, and its summary."""

    def without_pauses(*given, pauses, pause_seconds, **more):
        return Trainer(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(task, "Trainer", without_pauses)
        sweep = optrun.sweep(data, directory="whole")
    assert len({state.status for state in sweep.states}) == 2
    return everything("whole")


def everything(directory):
    return digest_of(directory), (Path(directory) / "summary.csv").read_bytes()


@pytest.fixture
def starts(monkeypatch):
    """The steps at which packs go on that are executed in this process."""
    found, real = [], Work.execute

    def execute(self, *given):
        found.append(self.start)
        return real(self, *given)

    monkeypatch.setattr(Work, "execute", execute)
    return found


@pytest.mark.full
@pytest.mark.parametrize("how", ["here", "threads", "local", "dask"])
def test_a_sweep_whose_packs_pause_has_the_same_bits(how, data, whole, starts):
    if how == "dask":
        pytest.importorskip("distributed")
    with ThreadPoolExecutor(2) as threads:
        executor = {"threads": threads, "dask": "dask"}.get(how, "local")
        optrun.sweep(data, directory=how, executor=executor, jobs=1 if how == "here" else 2)
    assert everything(how) == whole
    if how in ("here", "threads"):
        assert {9, 18, 27, 36, 45, 54} <= set(starts)


@pytest.mark.full
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interruption_keeps_what_packs_under_way_have_made(jobs, data, whole, monkeypatch, starts):
    monkeypatch.setattr(writer, "REPORT_SECONDS", 0.0)
    long = data | {"checkpoint": {"every": "1h"}}
    plan, groups = prepared(long)
    seen = []

    def observe(progress):
        if progress.lane_steps and not seen:
            seen.append(progress)
            signal.raise_signal(signal.SIGTERM)

    part = sweeps.sweep_plan(plan, groups, directory=Path("part"), jobs=jobs, observe=observe)
    assert part.signal == signal.SIGTERM
    interrupted = [state for state in part.states if state.status is Status.INTERRUPTED]
    assert jobs > 1 or interrupted
    assert all(state.steps for state in interrupted)
    del starts[:]
    again = optrun.sweep(long, directory="part")
    assert not again.left
    assert {state.steps for state in interrupted} <= set(starts)
    assert (Path("part") / "summary.csv").read_bytes() == whole[1]


@pytest.mark.full
def test_a_sweep_that_was_killed_goes_on_from_where_its_packs_paused(data, whole, starts):
    def observe(progress):
        if progress.lane_steps > 100:
            raise KeyboardInterrupt

    plan, groups = prepared(data)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            sweeps.sweep_plan(plan, groups, directory=Path("killed"), observe=observe)
        with Store.open(Path("killed")) as store:
            steps = {state.steps for state in store.states()}
        del starts[:]
    optrun.sweep(data, directory="killed")
    assert (steps - {60}) & set(starts)
    assert everything("killed") == whole


class Dying(Workers):
    """Loses the packs of some attempts; executes the others."""

    room = 1

    def __init__(self, dies):
        self.dies = dies
        self.taken = []

    def submit(self, number, work):
        self.taken.append(work)
        self.number, self.is_lost = number, self.dies(len(self.taken), work)

    def wait(self, seconds):
        outcome = Failure.DIED if self.is_lost else self.taken[-1].execute(lambda: False)
        return [(self.number, outcome)]

    def stop(self):
        pass

    def close(self):
        pass


@pytest.mark.full
def test_a_run_is_blamed_only_where_it_dies_without_having_advanced(data, whole, monkeypatch):
    often = Dying(lambda attempt, work: attempt % 3)
    monkeypatch.setattr(Execution, "workers", lambda *_: often)
    monkeypatch.setattr(dispatch, "LEAST_PAUSE_SECONDS", 0.0)
    optrun.sweep(data, directory="often")
    assert sum(map(often.dies, range(len(often.taken)), often.taken)) > 2 * dispatch.DEATHS
    assert everything("often") == whole
    # Once workers die, packs pause earlier.
    assert often.taken[1].pause_seconds < often.taken[0].pause_seconds
    at_18 = Dying(lambda attempt, work: work.start == 18)
    monkeypatch.setattr(Execution, "workers", lambda *_: at_18)
    failed = optrun.sweep(data, directory="failed")
    reasons = {(state.reason, state.steps) for state in failed.states if state.status is Status.FAILED}
    assert reasons == {("its process died, 3 times", 18)}


def test_the_time_of_an_attempt_goes_on_where_a_pack_does(monkeypatch):
    lost = Dying(lambda attempt, work: attempt == 3)
    monkeypatch.setattr(Execution, "workers", lambda *_: lost)
    optrun.sweep(GRID | {"sweep": {"repeats": 2}})
    spent = [each.spent for each in lost.taken]
    assert spent[0] == spent[3] == 0.0
    assert 0.0 < spent[1] < spent[2]
    assert 0.0 < spent[4] < spent[5]
    assert [each.start for each in lost.taken[:6]] == [0, 9, 18, 18, 27, 36]


def test_the_data_of_a_pack_that_goes_on_are_read_once(monkeypatch):
    built, real = [], regression.SoftmaxRegression.__init__

    def counted(self, *args, **options):
        built.append(self)
        real(self, *args, **options)

    plan, groups = prepared(GRID | {"sweep": {"repeats": 2}})
    monkeypatch.setattr(regression.SoftmaxRegression, "__init__", counted)
    sweeps.sweep_plan(plan, groups)
    assert len(built) == 1


@pytest.mark.full
@pytest.mark.parametrize("half_comes", [True, False])
def test_what_comes_late_of_a_pack_that_has_gone_on_since_is_left(half_comes, data, whole, monkeypatch):
    monkeypatch.setattr(base, "GIVE_UP_SECONDS", 0.0)
    executor = Twice(half_comes=half_comes)
    if not half_comes:
        executor = Twice(half_comes=True, from_rung=True)
    optrun.sweep(data, executor=executor, jobs=2, timeout=0.01, directory="late")
    assert everything("late") == whole


def test_a_sweep_that_is_over_is_known_to_its_workers_alone():
    worker_process.stop("this")
    config = prepared(GRID)[0].configs[0]
    here = worker_process.origin()

    def answer(host):
        return worker_process.execute_anywhere(worker_process.Task(0, Work([config]), (), None, here, host))[
            0
        ]

    assert answer("this").is_unchanged
    assert answer("other").goes_on
