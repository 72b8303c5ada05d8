"""Engines: every one computes the same bits, of ordinary numbers and of those at the edges."""

import os
import threading
from multiprocessing import get_context
from queue import SimpleQueue

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.errors import ConfigError
from optrun.kernels import BACKENDS, ENGINES, engine_named, threads
from optrun.kernels.denormals import denormals
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.kernels.threads import _join, cores, run_in_threads, share_cores, threads_per_step
from optrun.optim import SGD, Adam
from tests.kernels.engines import EVERY_ENGINE, NEEDS_NUMBA, NewCompiled
from tests.optim.samples import DTYPES, VARIANTS, gradients, in_turn, parameters, per_lane, stepped

ELEMENTWISE = [(rule, options) for rule, options in VARIANTS if not (rule.per_tensor or rule.needs_closure)]


def edges(dtype):
    """Numbers at which arithmetic has something special to say."""
    info = np.finfo(dtype)
    least, small, large = info.smallest_subnormal, info.tiny, info.max
    signed = [0.0, 1.0, least, 3 * least, small, large, np.inf]
    return np.array([sign * number for number in signed for sign in (1, -1)] + [np.nan], dtype)


def mixed(values, special, rng):
    """Put numbers at the edges in the place of a third of the values."""
    chosen = rng.random(values.shape) < 1 / 3
    values[chosen] = rng.choice(special, chosen.sum())


def known_bits(optimizer):
    """Return the bits of the parameters and of the state; of two NaNs NumPy returns one or the other."""
    buffers = [optimizer.params.data]
    for entry in optimizer.state.values():
        buffers += [value for name, value in entry.items() if name != "step"]
    return [np.where(np.isnan(buffer), np.nan, buffer).tobytes() for buffer in buffers]


@NEEDS_NUMBA
@pytest.mark.full
@pytest.mark.parametrize(
    ("rule", "options", "dtype", "lane_fast", "flushed"),
    in_turn(ELEMENTWISE, DTYPES, (False, True), (False, True)),
    ids=str,
)
def test_numba_has_the_bits_of_numpy(rule, options, dtype, lane_fast, flushed, rng):
    lanes = 17  # as in the contract of lanes, which is then about the same loops
    values = per_lane(rule, options, lanes, rng)
    start = parameters(rng, rule, lanes, dtype).data
    grads = gradients(rng, rule, lanes, 6)
    mixed(start, edges(dtype), rng)
    with np.errstate(over="ignore"):
        mixed(grads, edges(dtype), rng)
    for chosen in (slice(None), slice(3, 4)):  # a lane alone has a loop of its own
        found = []
        for engine in (NumpyEngine(), NewCompiled(2, shared_above=0, piece_bytes=512)):
            own = {name: value[chosen] for name, value in values.items()}
            params = parameters(rng, rule, len(start[chosen]), dtype, lane_fast)
            params.data[:] = start[chosen]
            optimizer = rule(params, engine=engine, **{**options, **own})
            with denormals(flushed=flushed):
                found.append(known_bits(stepped(optimizer, grads[:, chosen])))
        assert found[0] == found[1]


@pytest.mark.full
@EVERY_ENGINE
@pytest.mark.parametrize(("lanes", "size"), [(2, 0), (7, 1), (1, 3), (2, 64), (7, 129), (1, 1000), (7, 1000)])
@pytest.mark.parametrize("lane_fast", [False, True])
def test_shares_change_no_bit(engine, lanes, size, lane_fast, rng):
    def trained(engine):
        params = Parameters(
            {"a": (size,), "b": (3,)}, lanes=lanes, arrays=Arrays(dtype="float32"), lane_fast=lane_fast
        )
        draws = np.random.default_rng(1)
        params.data[:] = draws.normal(size=params.data.shape)
        groups = [{"params": "a", "lr": 0.1}, {"params": "b"}]
        return stepped(Adam(params, groups, engine=engine), draws.normal(size=(4, *params.data.shape)))

    assert known_bits(trained(engine())) == known_bits(trained(NumpyEngine()))


@EVERY_ENGINE
def test_gradients_are_only_read(engine, rng):
    params = Parameters({"a": (40,)}, lanes=2)
    params.grad[:] = rng.normal(size=params.grad.shape)
    before = params.grad.copy()
    optimizer = SGD(params, momentum=0.9, maximize=True, engine=engine())
    for _ in range(3):
        optimizer.step()
    assert params.grad.tobytes() == before.tobytes()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=NEEDS_NUMBA if name == "numba" else ()) for name in ENGINES]
)
def test_there_is_an_engine_of_every_name(name):
    assert hasattr(engine_named(name, BACKENDS.get(name, "numpy")), "bind")


def test_an_unknown_engine_is_refused():
    with pytest.raises(ConfigError, match="unknown engine 'fortran'"):
        engine_named("fortran")


def test_pieces_are_all_done_before_a_step_ends():
    done = []

    def piece(index):
        return lambda thread: done.append((index, thread))

    run = run_in_threads([piece(index) for index in range(40)], 3)
    for _ in range(50):
        run()
        assert sorted(index for index, _ in done) == list(range(40))
        assert {thread for _, thread in done} <= {0, 1, 2}
        done.clear()


def test_pieces_are_done_at_once():
    both = threading.Barrier(2, timeout=30)
    run_in_threads([lambda _: both.wait()] * 2, 2)()


@pytest.mark.parametrize("failing", [0, 1])
def test_a_piece_that_raises_ends_the_step(failing):
    both = threading.Barrier(2, timeout=30)

    def piece(thread):
        both.wait()
        if thread == failing:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_in_threads([piece, piece], 2)()


def test_no_thread_is_left_at_work_however_often_one_interrupts(monkeypatch):
    at_work, go, done = threading.Event(), threading.Event(), threading.Event()

    def piece(thread):
        if thread == 0:
            at_work.wait(30)
            raise KeyboardInterrupt
        at_work.set()
        go.wait(30)
        done.set()

    class Interrupted(SimpleQueue):
        def get(self):
            if not go.is_set():
                go.set()
                raise KeyboardInterrupt
            return super().get()

    run = run_in_threads([piece, piece], 2)
    run_in_threads([lambda _: None] * 2, 2)()  # helpers wait at a queue that nothing interrupts
    monkeypatch.setattr(threads, "SimpleQueue", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert done.is_set()


def test_jobs_that_no_thread_is_free_for_do_not_pile_up():
    count = 1 + max(1, len(threads._helpers))
    begun, done = threading.Barrier(count + 1, timeout=30), threading.Event()

    def piece(thread):
        begun.wait()
        done.wait(30)

    every = threading.Thread(target=run_in_threads([piece] * count, count))
    every.start()
    begun.wait()
    for _ in range(100):
        run_in_threads([lambda _: None] * 2, 2)()
    left = threads._jobs.qsize()
    done.set()
    every.join()
    assert left <= 2 * count


def test_threads_ignore_what_the_caller_ignores():
    both = threading.Barrier(2, timeout=30)

    def overflow(thread):
        both.wait()
        if thread:
            np.multiply(np.full(8, 1e308), 10.0)

    run = run_in_threads([overflow, overflow], 2)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        run()
    with np.errstate(all="ignore"):
        run()


def test_a_worker_process_has_one_thread_unless_it_knows_of_more_cores():
    if hasattr(os, "sched_getaffinity"):
        assert threads_per_step() == cores() == len(os.sched_getaffinity(0))
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(threads_per_step) == 1
        for processes, expected in ((1, cores()), (2 * cores(), 1)):
            pool.apply(share_cores, [processes])
            assert pool.apply(threads_per_step) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_makes_threads_of_its_own():
    run = run_in_threads([lambda _: None] * 4, 2)
    run()
    child = os.fork()
    if not child:
        try:
            run()
        finally:
            os._exit(threading.active_count())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


def test_an_interruption_comes_before_what_a_thread_raises():
    ended = []

    class Interrupted:
        def get(self):
            ended.append(ValueError())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _join([1], ended, Interrupted())
