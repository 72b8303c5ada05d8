"""A user's own problem, from a file."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.errors import ConfigError, PluginError, UnknownNameError
from optrun.plugins import load_plugin
from optrun.registry import problems
from tests.registries import restore_after

PLUGIN = '''
from typing import Annotated, Any

from annotated_types import Gt

from optrun.arrays import stream
from optrun.problems import Function, Problem, Rosenbrock


class TiltedBowl(Problem):
    """f(x) = a x² + tilt x"""

    def __init__(self, arrays, *, a: Annotated[float, Gt(0)] = 1.0, tilt: float):
        super().__init__(arrays)
        self.a, self.tilt = a, tilt

    @property
    def shapes(self):
        return {"x": (1,)}

    def initial(self, seed):
        return {"x": [1.0]}

    def loss_and_grad(self, params, grads, batch):
        x = params["x"]
        grads["x"][...] = 2 * self.a * x + self.tilt
        return (self.a * x * x + self.tilt * x)[:, 0]

    def evaluate(self, params):
        return {"loss": self.loss_and_grad(params, {"x": self.scratch("g", *params["x"].shape)}, None)}


class Looking(Function):
    @staticmethod
    def f(x, /):
        return x[0] if x[1] > 0 else x[1]


class Shifted(Rosenbrock):
    def __init__(self, arrays, *, shift: float = 0.0, dim: int = 3, **options: Any):
        super().__init__(arrays, dim=dim, **options)
        self.shift = shift


class Jittered(Rosenbrock):
    def initial(self, seed):
        return {"x": self.start + stream(seed, "initialisation").standard_normal(self.dim)}
'''


@pytest.fixture
def _plugin(tmp_path, monkeypatch):
    restore_after(monkeypatch, problems)
    (tmp_path / "bowls.py").write_text(PLUGIN)
    load_plugin(str(tmp_path / "bowls.py"))


@pytest.mark.usefixtures("_plugin")
def test_a_problem_of_a_plugin_is_found_and_runs():
    assert {"tilted_bowl", "shifted"} < set(problems)
    problem = problems.find("TiltedBowl")(Arrays(dtype="float64"), tilt=3.0)
    params = Parameters(problem.shapes, arrays=problem.arrays)
    params.set_lane(0, problem.initial(0))
    assert problem.loss_and_grad(params, params.grads, problem.batches([0])[0]) == 4.0
    assert params.grads["x"] == 5.0
    assert problem.minimum is None
    assert problem.steps_per_epoch == 1


@pytest.mark.usefixtures("_plugin")
def test_the_options_of_a_plugin_are_checked_and_inherited():
    bowl, shifted = problems.find("tilted_bowl"), problems.find("shifted")
    assert [(o.name, o.required) for o in bowl.options().values()] == [("a", False), ("tilt", True)]
    assert list(shifted.options()) == ["shift", "dim", "start", "init", "noise"]
    assert shifted.options()["dim"].default == 3
    assert np.shape(shifted(Arrays(), noise=0.5).initial(0)["x"]) == (3,)
    with pytest.raises(ConfigError, match="TiltedBowl: a must be > 0 .got -1"):
        bowl(Arrays(), a=-1.0, tilt=0.0)
    with pytest.raises(ConfigError, match="TiltedBowl: unknown option 'noise'"):
        bowl(Arrays(), noise=1.0, tilt=0.0)


@pytest.mark.usefixtures("_plugin")
def test_a_start_that_a_plugin_draws_is_that_of_the_run_alone_in_every_lane():
    jittered, starts = problems.find("jittered"), [[0.0, 0.0], [1.0, 2.0]]
    lanes = jittered(Arrays(dtype="float64")).for_lanes({"start": list(np.transpose(starts))})
    params = Parameters(lanes.shapes, lanes=2, arrays=lanes.arrays)
    lanes.begin(params, [5, 6])
    for x, seed, start in zip(params["x"], (5, 6), starts, strict=True):
        assert x.tolist() == jittered(Arrays(), start=start).initial(seed)["x"].tolist()


@pytest.mark.usefixtures("_plugin")
def test_a_formula_is_traced_when_its_problem_is_made_and_a_mistake_has_its_line():
    line = PLUGIN.splitlines().index("        return x[0] if x[1] > 0 else x[1]") + 1
    with pytest.raises(PluginError, match=rf"Looking: .*use where.*bowls\.py:{line}\)"):
        problems.find("looking")(Arrays())


def test_an_unknown_problem_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown problem 'rosenbrok'\. Did you mean 'rosenbrock'"):
        problems.find("rosenbrok")
