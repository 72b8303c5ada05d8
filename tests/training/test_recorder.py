"""The recorder and the watch on losses, each against the plainest way to do it."""

import numpy as np
import pytest

from optrun.config import from_mapping
from optrun.config.model.run import Stop
from optrun.schedulers import ExponentialLR
from optrun.store import Status
from optrun.training import recorder as recording
from optrun.training.pack import Pack
from optrun.training.recorder import Recorder
from optrun.training.stopping import Stopping

LARGEST = float(np.finfo(np.float32).max)


def pack(*rates, **more):
    document = {"problem": "rosenbrock", "steps": 9, **more}
    return Pack([from_mapping({**document, "optimizer": {"name": "SGD", "lr": rate}}) for rate in rates])


@pytest.mark.parametrize("start", [0.1, [0.1, 0.2]])
@pytest.mark.parametrize("changed", [0.3, [0.3, 0.4]])
@pytest.mark.parametrize("taken", [(), (2,), (4,), (2, 5)])
@pytest.mark.parametrize("room", [recording.BYTES, 0], ids=["roomy", "tight"])
def test_every_row_has_the_rate_of_its_step(start, changed, taken, room, monkeypatch):
    monkeypatch.setattr(
        recording, "BYTES", room
    )  # rows that fill little of it are copied when they are taken
    made = pack(*(start if isinstance(start, list) else [start] * 2))
    (group,) = made.optimizer.param_groups
    recorder = Recorder(made)
    found, expected = [], []
    for t in range(7):
        if t == 4:
            group["lr"] = changed
        recorder.record(t, np.array([t, -t]))
        expected.append(np.broadcast_to(changed if t >= 4 else start, 2))
        if t in taken:
            found.append(recorder.take())
    found.append(recorder.take())
    for lane in range(2):
        rows = {name: np.concatenate([of[lane][name] for of in found]) for name in ("step", "loss", "lr")}
        assert rows["step"].tolist() == list(range(7))
        assert rows["loss"].tolist() == [[t, -t][lane] for t in range(7)]
        assert rows["lr"].tolist() == [rate[lane] for rate in expected]


def test_a_rate_that_nobody_changes_takes_no_room():
    made = pack(0.1, 0.2)
    recorder = Recorder(made)
    for t in range(3):
        recorder.record(t, np.zeros(2))
    assert recorder.rows(1)["lr"].strides == (0,)


def test_a_rate_that_has_been_constant_until_a_commit_may_change_in_the_leap_after_it():
    made = pack(0.1, 0.2)
    recorder = Recorder(made)
    scheduler = ExponentialLR(made.optimizer, gamma=0.5)
    recorder.record(0, np.zeros(2))
    assert recorder.take()[1]["lr"].tolist() == [0.2]
    scheduler.step()
    recorder.coming[:3] = 0.0
    recorder.record_many(range(1, 4), 0)
    assert recorder.rows(1)["lr"].tolist() == [0.1, 0.05, 0.025]


def test_a_loss_that_may_not_be_written_is_copied():
    """A problem of a plugin may return the same view of a buffer of its own at each step."""
    recorder, buffer = Recorder(pack(0.1, 0.2)), np.zeros(1)
    for t in range(3):
        buffer[:] = t
        recorder.record(t, np.broadcast_to(buffer, 2))
    assert recorder.rows(1)["loss"].tolist() == [0, 1, 2]


def test_lanes_end_each_with_rows_of_its_own():
    recorder = Recorder(pack(0.1, 0.2, 0.3))
    for t in range(5):
        recorder.record(t, np.full(3, t))
        if t == 1:
            recorder.end([2], t)
    recorder.end([0, 1], 9)
    assert [of["step"].tolist() for of in recorder.take().values()] == [[0, 1, 2, 3, 4]] * 2 + [[0, 1]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("divergence", [None, 1e-24, 1e-16, 1e-3, 10.0, 1e30, 1e300])
def test_a_lane_diverges_where_its_loss_is_beyond_the_limit(divergence, dtype):
    for value in (0.0, 1e-23, 2e-16, 1e-4, -5.0, 5.1, -11.0, 1e20, -1e31, LARGEST, np.inf, -np.inf, np.nan):
        diverges_beyond(divergence, value, dtype)


def diverges_beyond(divergence, value, dtype):
    stopping = Stopping(Stop(divergence=divergence), 3)
    loss = np.array([0.0, value, 1e-25], dtype)
    with np.errstate(over="ignore"):  # as in a run
        ends = list(stopping.check(4, loss))
    is_over = not abs(float(loss[1])) <= (np.finfo(np.float64).max if divergence is None else divergence)
    assert [(lane, status) for lane, status, _ in ends] == ([(1, Status.DIVERGED)] if is_over else [])
    assert all(reason.startswith(f"loss is {loss[1]:g} at step 4") for _, _, reason in ends)
    stopping.end([1])
    assert stopping.running == 2
    with np.errstate(over="ignore"):
        assert list(stopping.check(5, loss)) == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_many_steps_are_those_of_single_ones(dtype):
    rates = np.geomspace(1e-4, 1e-2, 70)  # more than are made at once
    more = {"steps": 30, "dtype": dtype, "scheduler": {"name": "CosineAnnealingLR", "T_max": 30}}
    far, near = (pack(*rates.tolist(), **more) for _ in range(2))
    far.look_far(30)
    losses = np.random.default_rng(0).normal(size=(30, 70)).astype(dtype)
    at_once, singly = Recorder(far), Recorder(near)
    at_once.record(0, losses[0])
    at_once.coming[:29] = losses[1:]
    at_once.record_many(range(1, 30), 1)
    (scheduler,) = near.schedulers
    for t in range(30):
        singly.record(t, losses[t])
        scheduler.step()
    for recorder in (at_once, singly):
        recorder.end([3, 66], 7)
    before = bits(at_once.rows(3))
    assert before == bits(singly.rows(3))
    one, other = (recorder.take(range(100, 170)) for recorder in (at_once, singly))
    assert [*one] == [*other] == [*range(100, 170)]
    for run in one:
        assert bits(one[run]) == bits(other[run])
        assert len(one[run]["loss"]) == (8 if run in (103, 166) else 30)
        assert all(values.dtype == np.float64 for name, values in one[run].items() if name != "step")
    assert bits(one[103]) == before
    assert not at_once.take()


def bits(rows):
    return {name: values.tobytes() for name, values in rows.items()}
