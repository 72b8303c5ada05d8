"""Denormals are zeros within a block and a run, of the thread that is in it alone."""

import threading

import numpy as np
import pytest

import optrun
from optrun.config import from_mapping
from optrun.kernels.denormals import are_flushed, denormals
from optrun.kernels.threads import run_in_threads
from optrun.training.checkpoints import run_key
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
from tests.kernels.engines import NEEDS_NUMBA

# The weights of pixels that are always black halve at every step, until a half is denormal: it is not taken off.
HALVING = {
    "problem": {"name": "mlp", "data": "digits", "hidden": [4], "batch_size": 128},
    "optimizer": {"name": "SGD", "lr": 1.0, "weight_decay": 0.5},
    "steps": 140,
}


def halves():
    """Half of the smallest normal number of both dtypes."""
    return [np.array([np.finfo(dtype).tiny], dtype) * dtype(0.5) for dtype in (np.float32, np.float64)]


def test_a_block_sets_the_mode_of_its_thread_and_gives_it_back():
    seen = []
    with denormals(flushed=True):
        assert halves() == [0, 0]
        with denormals(flushed=False):
            assert all(half > 0 for half in halves())
        assert are_flushed()

        def unset():
            with denormals(flushed=False):
                seen.append(are_flushed())

        other = threading.Thread(target=unset)
        other.start()
        other.join()
        assert are_flushed()
        assert halves() == [0, 0]
    assert not are_flushed()
    assert all(half > 0 for half in halves())
    assert seen == [False]


@pytest.mark.parametrize("flushed", [True, False])
def test_threads_that_help_are_in_the_mode_of_the_one_they_help(flushed):
    both = threading.Barrier(2, timeout=30)
    seen = []

    def piece(thread):
        both.wait()
        seen.append(are_flushed())

    run = run_in_threads([piece, piece], 2)
    with denormals(flushed=not flushed):
        run()
    with denormals(flushed=flushed):
        run()
    run()
    assert seen == [not flushed] * 2 + [flushed] * 2 + [False] * 2


@pytest.mark.parametrize("engine", ["numpy", pytest.param("numba", marks=NEEDS_NUMBA)])
def test_a_run_flushes_and_who_looks_on_does_not(engine):
    seen = []
    done = optrun.run(
        HALVING | {"engine": engine}, save=False, observe=lambda progress: seen.append(are_flushed())
    )
    black, least = np.abs(done.params["layer1.weight"][0]), np.finfo(np.float32).tiny
    assert np.all((least <= black) & (black < 2 * least))
    assert seen
    assert not any(seen)
    assert not are_flushed()


def test_what_is_stored_has_denormals(tmp_path):
    config = HALVING | {"steps": 3, "optimizer": {"name": "Adam", "eps": 1e-310}, "dtype": "float64"}
    done = optrun.run(config, directory=tmp_path / "run")
    assert optrun.load_run(done.path).config["optimizer"]["eps"] == 1e-310


def test_a_checkpoint_is_of_the_run_whose_option_is_denormal():
    mapping = {"problem": "quadratic", "optimizer": {"name": "Adam", "eps": 1e-310}, "steps": 3}
    pack = Pack([from_mapping(mapping)])
    memory = MemoryStore(pack.configs)
    Trainer(pack, memory, until=2, pauses=True).run()
    assert memory.checkpoint(0).meta["run"] == run_key(from_mapping(mapping))


def test_denormal_rates_are_those_of_the_schedule():
    """Also those of steps whose table is made while the run computes."""
    config = {
        "problem": "rosenbrock",
        "optimizer": {"name": "SGD", "lr": 1e-3},
        "scheduler": {"name": "ExponentialLR", "gamma": 0.1},
        "steps": 318,
        "dtype": "float64",
    }
    done = optrun.run(config, save=False)
    np.testing.assert_allclose(done.curves["lr"], 1e-3 * 0.1 ** np.arange(318), rtol=1e-3)
