"""The processes of this machine can be ended at any instant, and a death is blamed on what caused it."""

import itertools
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from optrun.config.sweep.resolve import sweep_from_mapping
from optrun.errors import RunFailedError
from optrun.sweeps.plan.expand import expand
from optrun.sweeps.workers import processes
from optrun.sweeps.workers.base import Failure, Running
from optrun.sweeps.workers.processes import LocalProcesses
from optrun.sweeps.workers.task import Work
from tests.sweeps.test_workers import DATA

# A process of its own: workers import what they execute from it, and where one is waited for without end, it is ended.
ONE_WORKER = """\
import os
import signal
import sys
import threading
from pathlib import Path

from optrun.kernels.threads import cores, threads_per_step
from optrun.sweeps.workers.processes import LocalProcesses
from optrun.sweeps.workers.base import Failure


class Fake:
    start, spent = 0, 0.0


class CannotBeSent(Fake):
    def __reduce__(self):
        raise MemoryError


class CannotBeReceived(Fake):
    def __reduce__(self):
        return CannotBeReceived.fail, ()

    def fail():
        raise MemoryError


class CannotSend(Fake):
    def execute(self, interrupted, observe):
        return CannotBeSent()


class DiesWhileItSends(Fake):
    def execute(self, interrupted, observe):
        sys.setprofile(self.look)
        return b"x" * 1_000_000  # so much that its length is written first, and alone

    def look(self, frame, event, function):
        if event == "c_return" and function is os.write:
            os.kill(os.getpid(), signal.SIGKILL)


class LeavesAnotherProcess(Fake):
    def execute(self, interrupted, observe):
        child = os.fork()
        if not child:
            os.closerange(1, 3)  # the pipes of this test, but not the one of the results
            signal.alarm(300)
            signal.pause()
            os._exit(0)
        Path("child").write_text(str(child))
        return self.end()

    def end(self):
        os.kill(os.getpid(), signal.SIGKILL)


class LeavesAnotherProcessOnly(LeavesAnotherProcess):
    def end(self):
        return []


class Large(Fake):
    def __init__(self):
        self.content = bytes(1_000_000)


class Raises(Fake):
    def execute(self, interrupted, observe):
        raise KeyError("lost")


class Endless(Fake):
    def execute(self, interrupted, observe):
        threading.Event().wait()


class Short(Fake):
    def execute(self, interrupted, observe):
        return [threads_per_step() == cores()]


def outcome(local):
    while not (outcomes := local.wait(0.2)):
        pass
    (outcome,) = outcomes
    return outcome


if __name__ == "__main__":
    with LocalProcesses(1, (), None) as local:
        local.submit(1, {first}())
        local.submit(2, Short())
        assert outcome(local) == (1, Failure.DIED)
        if Path("child").exists():
            os.kill(int(Path("child").read_text()), signal.SIGKILL)
        assert outcome(local) == (2, [True])
        local.submit(5, Raises())
        number, error = outcome(local)
        assert (number, str(error)) == (5, "a worker could not run a pack: KeyError: 'lost'")
        assert "in execute" in error.traceback
        local.submit(3, Endless())
        local.submit(4, Endless())
        local.stop()
        assert outcome(local) == (4, Failure.NOT_STARTED)
"""


@pytest.mark.full
@pytest.mark.parametrize(
    "first",
    ["CannotBeSent", "CannotBeReceived", "CannotSend", "DiesWhileItSends", "LeavesAnotherProcess"],
)
def test_a_pack_or_results_that_cannot_be_sent_end_the_worker_and_cost_the_next_pack_nothing(first):
    Path("script.py").write_text(ONE_WORKER.format(first=first))
    done = subprocess.run([sys.executable, "script.py"], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


LARGE = """\
    from multiprocessing import active_children

    with LocalProcesses(1, (), None) as local:
        local.submit(1, LeavesAnotherProcessOnly())
        assert outcome(local) == (1, [])
        (worker,) = active_children()
        worker.kill()
        worker.join()
        local.submit(2, Large())
        assert outcome(local) == (2, Failure.NOT_STARTED)
    os.kill(int(Path("child").read_text()), signal.SIGKILL)
"""


@pytest.mark.full
def test_a_pack_that_the_pipe_of_a_dead_worker_cannot_hold_blocks_nothing_while_a_process_that_it_forked_lives():
    Path("script.py").write_text(ONE_WORKER.partition("    with Local")[0] + LARGE)
    done = subprocess.run([sys.executable, "script.py"], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def work():
    return Work(expand(sweep_from_mapping(DATA)).configs[:1])


def outcome(local):
    """Return the next attempt that ends, and its outcome."""
    while not (outcomes := local.wait(0.2)):
        pass
    (outcome,) = outcomes
    return outcome


def test_no_more_processes_start_than_there_are_packs_or_jobs(work, monkeypatch):
    made = []
    monkeypatch.setattr(
        processes, "_Worker", lambda *_: made.append(SimpleNamespace(is_ready=False, number=None)) or made[-1]
    )
    local, counts = LocalProcesses(3, (), None), []
    for number in range(5):
        local.submit(number, work)
        local._hand_out()
        counts.append(len(made))
    assert counts == [1, 2, 3, 3, 3]
    local._shared.close()


def used_worker(local, work):
    """Have a pack executed; return the process that has done so."""
    others = multiprocessing.active_children()
    local.submit(1, work)
    assert outcome(local)[0] == 1
    (process,) = set(multiprocessing.active_children()) - set(others)
    return process


@pytest.mark.full
@pytest.mark.parametrize("is_gone", [True, False])
def test_a_worker_that_is_killed_between_two_packs_is_no_pack_s_fault(is_gone, work):
    with LocalProcesses(1, (), None) as local:
        process = used_worker(local, work)
        process.kill()
        if is_gone:
            process.join()
        local.submit(2, work)
        assert outcome(local) == (2, Failure.NOT_STARTED)
        local.submit(3, work)
        number, results = outcome(local)
        assert (number, len(results)) == (3, 1)


@pytest.mark.full
def test_processes_that_die_before_they_begin_a_pack_are_not_started_for_ever(work, monkeypatch):
    monkeypatch.setattr(processes, "MOST_STARTS", 3)
    with LocalProcesses(1, (), None) as local:
        used_worker(local, work).kill()
        local.submit(2, work)
        assert outcome(local) == (2, Failure.NOT_STARTED)
        monkeypatch.setattr(processes, "execute_for_parent", itertools.chain)  # which returns at once
        local.submit(3, work)
        with pytest.raises(RunFailedError, match="^3 worker processes died before they began a pack"):
            outcome(local)


@pytest.mark.full
def test_the_number_of_a_worker_that_is_gone_is_sent_no_signal(work, monkeypatch):
    sent = []
    with LocalProcesses(1, (), None) as local:
        process = used_worker(local, work)
        process.kill()
        process.join()
        monkeypatch.setattr(os, "kill", lambda *given: sent.append(given))
    assert not sent


def test_a_pack_that_ends_while_one_looks_on_has_steps():
    class Worker:
        start, step, lanes, alive = 1, 3, 2, 2
        reads = iter([5, 0])

        @property
        def shared(self):
            return self

        @property
        def steps(self):
            return next(self.reads)

    with LocalProcesses(1, (), None) as local:
        local._workers.append(Worker())
        assert local.running() == [Running(1, 3, 5, 2, 2)]
        local._workers.clear()
