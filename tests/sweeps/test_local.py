"""The workers of this machine can be ended at any instant, and a death is blamed on what caused it."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import wait
from pathlib import Path

import pytest

from optrun.config.sweep.resolve import sweep_from_mapping
from optrun.sweeps.plan.expand import expand
from optrun.sweeps.workers.base import Fate, Running
from optrun.sweeps.workers.processes import Local
from optrun.sweeps.workers.task import Work
from tests.sweeps.test_workers import DATA

# A process of its own: workers import what they execute from it, and where one is waited for without end, it is ended.
ONE_WORKER = """\
import os
import signal
import sys
import threading
from concurrent.futures import wait

from optrun.sweeps.workers.processes import Local
from optrun.sweeps.workers.base import Fate


class Fake:
    start, spent = 0, 0.0


class CannotBeSent:
    def __reduce__(self):
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


class Endless(Fake):
    def execute(self, interrupted, observe):
        threading.Event().wait()


class Short(Fake):
    def execute(self, interrupted, observe):
        return []


if __name__ == "__main__":
    with Local(1, (), None) as local:
        first, second = local.submit({first}()), local.submit(Endless())
        wait([first])
        assert local.fate_of(first) is Fate.DIED, "first"
        wait([second])
        assert local.fate_of(second) is Fate.WAITED, "second"
        third = local.submit(Short())
        assert third.result() == []
        assert local.fate_of(third) is None, "third"
        fourth = local.submit(Endless())
    assert fourth.done()
"""


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
@pytest.mark.parametrize("first", ["CannotBeSent", "CannotSend", "DiesWhileItSends"])
def test_a_pack_or_results_that_cannot_be_sent_end_the_worker_and_cost_the_next_pack_nothing(first):
    Path("script.py").write_text(ONE_WORKER.format(first=first))
    done = subprocess.run([sys.executable, "script.py"], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def work():
    return Work(expand(sweep_from_mapping(DATA)).configs[:1])


def used_worker(local, work):
    """Have a pack executed; return the process that has done so."""
    others = multiprocessing.active_children()
    future = local.submit(work)
    wait([future])
    assert local.fate_of(future) is None
    (process,) = set(multiprocessing.active_children()) - set(others)
    return process


@pytest.mark.full
def test_a_worker_that_is_killed_between_two_packs_is_no_pack_s_fault(work):
    with Local(1, (), None) as local:
        used_worker(local, work).kill()
        second = local.submit(work)
        wait([second])
        assert local.fate_of(second) is Fate.WAITED
        third = local.submit(work)
        wait([third])
        assert (local.fate_of(third), len(third.result())) == (None, 1)


@pytest.mark.full
def test_the_number_of_a_worker_that_is_gone_is_sent_no_signal(work, monkeypatch):
    sent = []
    with Local(1, (), None) as local:
        process = used_worker(local, work)
        process.kill()
        process.join()
        monkeypatch.setattr(os, "kill", lambda *given: sent.append(given))
    assert not sent


def test_a_pack_that_ends_while_one_looks_on_has_steps():
    class Desk:
        start, step, lanes, alive = 1, 3, 2, 2
        reads = iter([5, 0])

        @property
        def steps(self):
            return next(self.reads)

    with Local(1, (), None) as local:
        slot = local._slots[0]
        slot.desk, slot.taken = Desk(), [None]
        assert local.running() == [Running(1, 3, 5, 2, 2)]
        slot.taken = []
