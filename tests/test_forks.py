"""A forked process waits for no thread of its parent."""

import os
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from operator import attrgetter

import pytest

LOCKS = [
    ("optrun.plugins", "_loading"),
    ("optrun.plugin_code", "_output.lock"),
    ("optrun.arithmetic.parser", "_parsing"),
    ("optrun.arrays", "one_blas_thread._lock"),
    ("optrun.config.yaml.files", "_reading"),
    ("optrun.kernels.numba.code_cache", "_lock"),
    ("optrun.kernels.threads", "_lock"),
    ("optrun.plots.look", "_drawing"),
    ("optrun.schedulers.function_of_time", "_multiplying"),
    ("optrun.sweeps.workers.worker_process", "_timer"),
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize(("module", "name"), LOCKS)
def test_a_lock_that_a_thread_holds_is_free_in_a_forked_process(module, name):
    lock = attrgetter(name)(import_module(module))
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lock.acquire).result()
        child = os.fork()
        if not child:
            os._exit(7 if attrgetter(name)(import_module(module)).acquire(blocking=False) else 1)
        thread.submit(lock.release).result()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
