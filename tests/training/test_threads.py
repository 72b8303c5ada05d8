"""Runs and sweeps in two threads of one Python process: the bits of each alone, and nothing left behind."""

import sys
import warnings
from io import BytesIO, TextIOWrapper
from pathlib import Path
from threading import Barrier, Thread

import pytest

import optrun
from optrun.config.yaml import files
from optrun.plugin_code import output_of_caller, output_on_stderr
from optrun.plugins import load_plugins
from optrun.registry import problems
from tests.registries import restore_after

IRIS = {
    "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 32},
    "steps": 60,
    "evaluate": {"every": 20},
}
MLP = {"problem": {"name": "mlp", "data": "digits", "hidden": [16], "batch_size": 64}, "steps": 30}
SCHEDULED = {"scheduler": {"name": "LambdaLR", "lr_lambda": "0.99 ** t"}}
CONFIGS = {
    "adam": IRIS | {"optimizer": "Adam", "record": {"metrics": ["update_norm", "grad_norm"]}},
    "scheduled": IRIS | {"optimizer": {"name": "SGD", "momentum": 0.9}} | SCHEDULED,
    "mlp": MLP | {"optimizer": "AdamW", "average": "ema"},
    "muon": {"problem": MLP["problem"] | {"bias": False}, "steps": 30, "optimizer": "Muon"},
    "compiled": {"problem": {"name": "rosenbrock"}, "optimizer": "Adam", "steps": 400, "engine": "auto"},
    "closure": {"problem": {"name": "quadratic", "dim": 9}, "optimizer": "LBFGS", "steps": 20},
    "sweep": IRIS
    | {"optimizer": "SGD", "sweep": {"parameters": {"optimizer.lr": [0.1, 0.01, 1.0]}, "repeats": 2}},
    "halving": IRIS
    | {
        "optimizer": "SGD",
        "sweep": {
            "method": "halving",
            "halving": {"min_steps": 7},
            "parameters": {"optimizer.lr": {"logspace": [1e-3, 10, 9]}},
        },
    },
}


@pytest.fixture(autouse=True)
def _often_switched():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(*functions):
    """Call functions in threads of their own, at once, and return what they return."""
    found, raised, start = [None] * len(functions), [], Barrier(len(functions), timeout=60)

    def call(index, function):
        try:
            start.wait()
            found[index] = function()
        except BaseException as error:
            raised.append(error)

    threads = [Thread(target=call, args=each) for each in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
    return found


def results(name):
    """Return all that a config computes, as bytes."""
    done = (optrun.sweep if "sweep" in CONFIGS[name] else optrun.run)(CONFIGS[name], save=False)
    return [
        (
            run.status,
            run.steps,
            run.summary,
            *(
                {key: of.tobytes() for key, of in each.items()}
                for each in (run.curves, run.evaluations, run.params)
            ),
        )
        for run in getattr(done, "runs", [done])
    ]


PAIRS = "adam adam, mlp scheduled, muon closure, compiled sweep, halving mlp"


@pytest.mark.full
@pytest.mark.parametrize(("one", "other"), [pair.split() for pair in PAIRS.split(", ")])
def test_two_configs_at_once_have_the_bits_of_each_alone(one, other):
    alone = results(one), results(other)
    streams, filters = (sys.stdout, sys.stderr), list(warnings.filters)
    for _ in range(2):
        assert tuple(at_once(lambda: results(one), lambda: results(other))) == alone
    assert (sys.stdout, sys.stderr) == streams
    assert warnings.filters == filters


def test_a_plugin_that_two_threads_load_is_loaded_once(monkeypatch):
    restore_after(monkeypatch, problems)
    Path("ours.py").write_text(
        "from optrun.problems import Rosenbrock\nfrom pathlib import Path\n"
        "with Path('loads').open('a') as file:\n    file.write('x')\n"
        "class Valley(Rosenbrock):\n    '''The same.'''\n"
    )
    at_once(*[lambda: load_plugins(["ours.py"])] * 4)
    assert Path("loads").read_text() == "x"
    assert "valley" in problems


def test_streams_are_the_callers_after_callbacks_of_two_threads():
    before, turns = (sys.stdout, sys.stderr), [Barrier(2, timeout=20) for _ in range(4)]

    def first():
        with output_on_stderr():
            with output_of_caller():
                turns[0].wait()
                turns[1].wait()
            turns[2].wait()
            turns[3].wait()
            assert sys.stdout is sys.stderr

    def second():
        with output_on_stderr():
            turns[0].wait()
            with output_of_caller():
                turns[1].wait()
                turns[2].wait()
                assert sys.stdout is before[0]
            turns[3].wait()
            assert sys.stdout is sys.stderr
            assert sys.stdout is not before[0]

    at_once(first, second)
    assert (sys.stdout, sys.stderr) == before


def test_standard_input_is_read_once(monkeypatch):
    monkeypatch.setattr(files, "_streams", {})
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"problem: rosenbrock")))
    assert at_once(*[lambda: files._stream("-")] * 4) == [b"problem: rosenbrock"] * 4
