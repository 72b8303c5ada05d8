"""The step of a cubic by closed forms, with a minimum and without; the search by the one of torch."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.optim import LBFGS
from optrun.optim.line_search import Point, _cubic_minimizer, strong_wolfe


@pytest.mark.parametrize(
    ("cubic", "expected"),
    [
        ([1.0, -1.0, -0.75, 0.0], (2 + 13**0.5) / 6),  # 3t² - 2t - 3/4 = 0 at its minimum
        ([1.0, 0.0, -12.0, 0.0], 1.6),  # the minimum, 2, lies beyond the bounds
        ([2 / 3, -1.0, 1.0, 0.0], 0.9),  # it rises everywhere
        ([0.0, -1.0, 3.0, 0.0], 0.9),  # a parabola that opens downwards
    ],
)
def test_a_step_is_the_minimizer_of_the_cubic_or_the_middle_where_there_is_none(cubic, expected):
    slope = np.polyder(cubic)
    ends = [Point(at, float(np.polyval(cubic, at)), None, float(np.polyval(slope, at))) for at in (0.0, 1.0)]
    for first, second in (ends, ends[::-1]):
        assert _cubic_minimizer(first, second, (0.2, 1.6)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("first", "most"), [(1.0, 3), (10.0, 25)])
def test_the_search_takes_the_steps_of_torch(first, most, rng):
    """Waves on a slope: a bracket has its better end on either side, and is narrowed several times."""
    lbfgs = pytest.importorskip("torch.optim.lbfgs")
    import torch

    counts = set()
    for width, height, phase in zip(
        *rng.uniform([[1.0], [0.1], [0.0]], [[9.0], [0.9], [6.0]], (3, 60)), strict=True
    ):

        def wave(t, width=width, height=height, phase=phase):
            slope = -1.0 + 0.2 * t - height * width * np.sin(width * t + phase)
            return -t + 0.1 * t * t + height * np.cos(width * t + phase), slope

        def evaluate(t, wave=wave):
            return Point(t, wave(t)[0], None, wave(t)[1])

        def closure(_, t, d, wave=wave):
            return wave(float(t))[0], torch.tensor([wave(float(t))[1]], dtype=torch.float64)

        start = evaluate(0.0)
        if start.slope >= 0:
            continue
        one = torch.ones(1, dtype=torch.float64)
        grad = torch.tensor([start.slope], dtype=torch.float64)
        expected = lbfgs._strong_wolfe(
            closure, None, first, one, start.loss, grad, grad.dot(one), max_ls=most
        )
        found, count = strong_wolfe(evaluate, start, first, 1.0, most)
        assert (found.step, count) == (pytest.approx(float(expected[2]), rel=1e-9), expected[3])
        counts.add(count)
    assert max(counts) > 3


@pytest.mark.parametrize("most", [4, 9])
def test_all_evaluations_of_a_search_count(most):
    torch = pytest.importorskip("torch")
    options = {"line_search_fn": "strong_wolfe", "max_iter": 50, "max_eval": most}
    start, calls = np.array([-1.2, 1.0, 0.5]), {"ours": 0, "torch": 0}
    params = Parameters({"x": (3,)}, arrays=Arrays(dtype="float64"))
    params.data[:] = start

    def ours():
        calls["ours"] += 1
        x = params.data
        params.grad[:] = 4 * x**3 - 3 * x + 0.3
        return (x**4 - 1.5 * x**2 + 0.3 * x).sum(axis=1)

    tensor = torch.tensor(start, requires_grad=True)
    reference = torch.optim.LBFGS([tensor], **options)

    def theirs():
        calls["torch"] += 1
        reference.zero_grad()
        loss = (tensor**4 - 1.5 * tensor**2 + 0.3 * tensor).sum()
        loss.backward()
        return loss

    LBFGS(params, **options).step(ours)
    reference.step(theirs)
    assert calls["ours"] == calls["torch"]
    np.testing.assert_allclose(params.data[0], tensor.detach().numpy(), rtol=1e-9)
