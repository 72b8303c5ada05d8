"""A worker knows which process wants its results, and has the plugins that the sweep has."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from optrun import plugins
from optrun.config import from_mapping
from optrun.errors import PluginError
from optrun.plugins import load_plugin, plugin_version
from optrun.registry import optimizers
from optrun.sweeps.workers import worker_process
from optrun.sweeps.workers.task import Work
from optrun.sweeps.workers.worker_process import Plugin, Task, execute_anywhere
from tests.registries import restore_after

MINE = """\
from optrun.optim import SGD


class Mine(SGD):
    def step(self, closure=None):
        for _ in range({digit}):
            losses = super().step(closure)
        return losses
"""
ORIGIN = """\
import os
import platform

platform.node = lambda: "container"
os.getpid = lambda: 1
from optrun.sweeps.workers.worker_process import origin

print(origin())
"""
FORKED = """\
import os
from optrun.sweeps.workers.worker_process import origin

mine = origin()
if (child := os.fork()) == 0:
    os._exit(origin() == mine)
assert os.waitpid(child, 0)[1] == 0
assert origin() == mine
"""


def written(digit):
    """Write the plugin, always of the same size, and as of the same instant."""
    Path("mine.py").write_text(MINE.format(digit=digit))
    os.utime("mine.py", (1e9, 1e9))


def on_disk():
    """Return the plugin as a process would have it that starts now."""
    return Plugin("mine.py", plugin_version("mine.py"))


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    restore_after(monkeypatch, optimizers)
    monkeypatch.setattr(plugins, "_loaded", {})


@pytest.fixture
def config():
    written(1)
    load_plugin("mine.py")
    return from_mapping({"problem": "quadratic", "optimizer": "Mine", "steps": 3})


def loss_elsewhere(config, plugin):
    """Return the loss that a worker comes to, which has executed packs of other sweeps before."""
    (result,) = execute_anywhere(Task(0, Work([config]), [plugin], None, ("elsewhere", 0)))
    return result.state.summary["final_loss"]


def test_a_worker_that_lives_on_loads_a_plugin_that_has_changed(config):
    losses = []
    for digit in (1, 2, 2, 3):
        written(digit)
        losses.append(loss_elsewhere(config, on_disk()))
    assert losses[1] == losses[2]
    assert len(set(losses)) == 3


def test_a_worker_on_another_machine_says_so(config):
    work = Work([config])
    here = worker_process.machine()
    (same,) = execute_anywhere(Task(0, work, (), None, ("elsewhere", 0), machine=here))
    other = here | {"numpy": "1.0", "simd": [*here["simd"], "AVX1024"]}
    (result,) = execute_anywhere(Task(0, work, (), None, ("elsewhere", 0), machine=other))
    assert same.warnings == ()
    assert result.warnings[0].startswith("a worker has another machine, so that the last bits")
    assert f"numpy {here['numpy']}, here 1.0; simd" in result.warnings[0]


def test_what_earlier_attempts_took_counts_as_time_of_a_pack(config):
    shared = SimpleNamespace(stop=False)
    worker_process._executed(Work([config], spent=1e6), shared, [])
    assert time.monotonic() - shared.began >= 1e6


def test_a_plugin_that_has_not_changed_is_loaded_once(config):
    assert Plugin.of("mine.py") == on_disk()
    loss_elsewhere(config, on_disk())
    loaded = optimizers.find("Mine")
    loss_elsewhere(config, on_disk())
    assert optimizers.find("Mine") is loaded


@pytest.mark.full
def test_a_worker_does_not_mix_two_versions_of_a_plugin(config):
    before = on_disk()
    written(2)
    loss_elsewhere(config, on_disk())
    with pytest.raises(PluginError, match="'mine.py': a worker finds another file than the sweep began with"):
        loss_elsewhere(config, before)


def test_a_module_has_no_version_and_a_file_that_is_not_there_is_an_error():
    assert plugin_version("optrun.optim") == ""
    with pytest.raises(PluginError, match="plugin 'none.py': no such file"):
        plugin_version("none.py")


@pytest.mark.full
def test_two_processes_of_the_same_name_and_number_are_told_apart():
    told = {subprocess.check_output([sys.executable, "-c", ORIGIN]) for _ in range(2)}
    assert len(told) == 2


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
def test_a_process_is_not_the_one_that_it_is_forked_from():
    subprocess.run([sys.executable, "-c", FORKED], check=True)
