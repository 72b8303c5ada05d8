"""Numbers of rules that depend on all elements: their values, their bits whatever the groups, and their states."""

from typing import Any

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters, lane_sum
from optrun.kernels import halving
from optrun.kernels.reductions import stacks_of
from optrun.kernels.trace import trace
from optrun.ops import dot, maximum, mean, norm, sqrt, sum, where
from optrun.optim import SGD, Optimizer
from optrun.registry import NonNegative, Number
from tests.kernels.engines import EVERY_ENGINE
from tests.optim.samples import bits, gradients, parameters, stepped

SHAPES = {"a": (3, 2), "b": (4,), "c": (2, 2)}
GROUPS = [{"params": ["a", "c"]}, {"params": "b"}]


class _Distance(Optimizer):
    """Steps as long as the way from the start, in the manner of DoG."""

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, start: Any, way: Number, squares: Number, *, lr: NonNegative = 1.0,
               over: str = "run") -> None:  # fmt: skip
        start[:] = where(t == 1, p, start)
        way[:] = maximum(way, norm(p - where(t == 1, p, start), over=over))
        squares[:] = squares + dot(g, g, over=over)
        p -= lr * maximum(way, 1e-3) / sqrt(squares + 1e-8) * g


def distance(data, grads, parts, lr=1.0):
    """The same for each part of the vector, in plain numbers."""
    p, start = data.copy(), data.copy()
    way, squares = np.zeros(len(parts)), np.zeros(len(parts))
    for g in grads:
        for i, part in enumerate(parts):
            way[i] = max(way[i], np.linalg.norm((p - start)[part]))
            squares[i] += (g[part] ** 2).sum()
        for i, part in enumerate(parts):
            p[part] -= lr * max(way[i], 1e-3) / np.sqrt(squares[i] + 1e-8) * g[part]
    return p


@pytest.mark.parametrize("over", ["run", "group", "tensor"])
def test_the_rule_sees_the_sums_over_what_it_says(over, rng):
    params = Parameters(SHAPES, arrays=Arrays(dtype="float64"))
    params.data[:] = rng.normal(size=params.data.shape)
    start, grads = params.data.copy(), rng.normal(size=(20, 1, params.size))
    stepped(_Distance(params, GROUPS, over=over), grads)
    of = {name: np.r_[part] for name, part in params.slices.items()}
    parts = {
        "run": [np.arange(params.size)],
        "group": [np.r_[of["a"], of["c"]], of["b"]],
        "tensor": list(of.values()),
    }[over]
    np.testing.assert_allclose(params.data[0], distance(start[0], grads[:, 0], parts), rtol=1e-12)


@pytest.mark.parametrize("lane_fast", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lanes_groups_and_a_loaded_state_change_no_bit(dtype, lane_fast, rng):
    lanes = 9
    params, grads = (
        parameters(rng, lanes=lanes, dtype=dtype, lane_fast=lane_fast),
        gradients(rng, lanes=lanes),
    )
    start = params.data.copy()
    together = stepped(_Distance(params, [{"params": "b.*"}, {"params": "a.*"}]), grads)
    for lane in (0, 4):
        solo = parameters(rng, dtype=dtype)
        solo.data[:] = start[lane]
        first = stepped(_Distance(solo), grads[:5, lane])
        second = parameters(rng, dtype=dtype)
        second.data[:] = solo.data
        after = _Distance(second)
        after.load_state_dict(first.state_dict())
        stepped(after, grads[5:, lane])
        assert second.data.tobytes() == np.ascontiguousarray(together.params.data[lane]).tobytes()
        assert bits(stepped(first, grads[5:, lane])) == bits(after)


@EVERY_ENGINE
@pytest.mark.parametrize("lane_fast", [False, True])
def test_additions_that_are_made_with_the_terms_change_no_bit(engine, lane_fast, rng, monkeypatch):
    shapes = {
        "a": (64,),
        "b": (5, 4),
        "c": (7,),
    }  # of 64, 20 and 7 elements: halved 4 times, twice, not at all
    start, grads = rng.normal(size=(3, 91)), rng.normal(size=(4, 3, 91)).astype(np.float32)
    found = []
    for least in (1, 1 << 40):
        monkeypatch.setattr(halving, "LEAST", least)
        params = Parameters(shapes, lanes=3, arrays=Arrays(dtype="float32"), lane_fast=lane_fast)
        params.data[:] = start
        found.append(
            bits(
                stepped(_Distance(params, [{"params": ["a", "c"]}, {"params": "b"}], engine=engine()), grads)
            )
        )
    assert found[0] == found[1]


def test_a_mean_counts_the_elements():
    class _Mean(Optimizer):
        @staticmethod
        def update(p: Any, g: Any, t: Any, /, *, lr: NonNegative = 1.0, over: str = "run") -> None:
            p[:] = g - mean(g, over=over)

    for over, expected in (("run", 6.5), ("group", 5.5)):
        params = Parameters(SHAPES, arrays=Arrays(dtype="float64"))
        optimizer = _Mean(params, GROUPS, over=over)
        params.grad[:] = np.arange(14.0)
        optimizer.step()
        found = params.grad[0] - params.data[0]
        of_first = np.r_[params.slices["a"], params.slices["c"]]
        own = params.grad[0][of_first].mean() if over == "group" else expected
        np.testing.assert_allclose(found[of_first], own)


def test_a_group_of_a_rule_without_sums_goes_its_own_way(rng):
    params = Parameters(SHAPES, arrays=Arrays(dtype="float64"))
    start, grads = rng.normal(size=(1, 14)), rng.normal(size=(5, 1, 14))
    params.data[:] = start
    stepped(_Distance(params, [{"params": ["a", "c"]}, {"params": "b", "rule": SGD, "lr": 0.1}]), grads)
    of = np.r_[params.slices["a"], params.slices["c"]]
    expected = start[0] - 0.1 * grads[:, 0].sum(axis=0)
    expected[of] = distance(start[0], grads[:, 0], [of])[of]
    np.testing.assert_allclose(params.data[0], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda g: norm(g), "say over what to add up, such as norm\\(g, over='run'\\)"),
        (lambda g: sum(g, over="all"), "over 'tensor', 'group' or 'run': not 'all'"),
    ],
)
def test_a_rule_that_does_not_say_over_what_is_told(wrong, said):
    def update(p, g, t, /):
        p -= wrong(g) * g

    with pytest.raises(TypeError, match=said):
        trace(update, (), (), {})


@pytest.mark.parametrize("order", ["C", "F"])
def test_tensors_at_equal_distances_are_added_up_together_with_the_bits_of_each_alone(order, rng):
    sizes = {"a": 6, "b": 2, "c": 6, "d": 2, "e": 6, "f": 5, "g": 6, "h": 0}
    ends = np.cumsum([0, *sizes.values()]).tolist()
    values = np.array(rng.normal(size=(3, ends[-1])), np.float32, order=order)
    terms = {name: values[:, i:j] for name, i, j in zip(sizes, ends, ends[1:], strict=False)}
    terms["elsewhere"] = np.array(rng.normal(size=(3, 6)), np.float32, order=order)
    alone = {name: lane_sum(of.copy()) if of.size else np.zeros(3) for name, of in terms.items()}
    stacks = stacks_of(terms)
    together = {frozenset(each.tensors) for each in stacks}
    assert together == {*map(frozenset, ("ace", "g", "bd", "f", "h", ["elsewhere"]))}
    for stack in stacks:
        for name, of in stack.sums().items():
            np.testing.assert_array_equal(of, alone[name].astype(np.float64))
