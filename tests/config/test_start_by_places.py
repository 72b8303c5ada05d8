"""A start of which some numbers are given by their places: a run, a sweep and a map have the usual ones beside them."""

import pytest

import optrun
from optrun import ops
from optrun.arrays import Arrays
from optrun.config import ConfigErrors, parse
from optrun.config.map import map_from_mapping
from optrun.config.model.options import MOST_WRITTEN
from optrun.config.resolution import resolve
from optrun.problems.vectors import VectorProblem
from optrun.registry import problems
from optrun.sweeps.maps import MapPlan
from tests.registries import restore_after

USUAL = [
    name
    for name in problems
    if issubclass(cls := problems.find(name), VectorProblem) and not cls.options()["start"].required
]
RUN = {"optimizer": {"name": "SGD", "lr": 1e-4}, "steps": 3, "dtype": "float64"}
OVERRIDE = "problem.start.0=0.625"


def text(problem: str) -> str:
    return f"problem: {problem}\noptimizer: SGD\nsteps: 3\n"


@pytest.mark.parametrize("name", USUAL)
def test_one_number_of_any_start_is_set_and_the_others_are_usual(name):
    usual = problems.find(name)(Arrays("numpy", "float64")).start.tolist()
    found = parse(text(name), overrides=[OVERRIDE])
    assert found.problem.options["start"] == [0.625, *usual[1:]]


def test_runs_sweeps_and_maps_have_one_start(tmp_path):
    problem = {"name": "rosenbrock", "dim": 3}
    starts = [[x, 1.0, -1.2] for x in (-1.0, 0.5)]
    config = {**RUN, "problem": problem}
    block = {"parameters": {"problem.start.0": [-1.0, 0.5]}}
    drawn = {"method": "random", "trials": 2, "parameters": {"problem.start.0": {"choice": [-1.0, 0.5]}}}
    window = {"x": {"problem.start.0": [-1.0, 0.5]}, "y": {"optimizer.lr": [1e-4]}}
    on_top = optrun.sweep(config, overrides=["problem.start.0=-1.0,0.5"], save=False).runs
    runs = {
        "run": [optrun.run(config, overrides=[f"problem.start.0={x}"], save=False) for x, *_ in starts],
        "parameters": optrun.sweep({**config, "sweep": block}, save=False).runs,
        "override": on_top,
        "zip": optrun.sweep({**config, "sweep": {"zip": [block["parameters"]]}}, save=False).runs,
        "random": optrun.sweep({**config, "sweep": drawn}, save=False).runs,
    }
    expected = [optrun.run({**config, "problem": {**problem, "start": each}}, save=False) for each in starts]
    for way, found in runs.items():
        if way != "random":
            assert [run.config["problem"]["start"] for run in found] == starts, way
        for run in found:
            assert run.summary == expected[starts.index(run.config["problem"]["start"])].summary, way
    pixels = optrun.map({**config, "map": window})
    assert pixels.values.ravel().tolist() == [run.summary["final_loss"] for run in expected]


@pytest.mark.parametrize("order", [1, -1])
def test_the_number_of_dimensions_may_come_before_or_after(order):
    overrides = ["problem.start.3=0.5", "problem.dim=4"][::order]
    assert parse(text("rosenbrock"), overrides=overrides).problem.options["start"] == [-1.2, 1.0, -1.2, 0.5]


def test_a_plugin_may_name_the_start_before_the_number_of_dimensions(monkeypatch):
    restore_after(monkeypatch, problems)

    class StartFirst(VectorProblem):
        """A bowl."""

        def __init__(self, arrays: Arrays, *, start: list[float] | None = None, dim: int = 2) -> None:
            self.dim = dim
            super().__init__(arrays, start=start)

        def _value(self, x):
            return ops.sum(x**2)

    found = parse(text("{name: startfirst, dim: 3}"), overrides=[OVERRIDE]).problem.options
    assert [*found.items()] == [("start", [0.625, 0.0, 0.0]), ("dim", 3)]


def test_a_sweep_fixes_a_number_of_several_functions():
    sweep = {"parameters": {"problem.name": ["rosenbrock", "himmelblau"]}}
    found = optrun.sweep({**RUN, "problem": "beale", "sweep": sweep}, overrides=[OVERRIDE], save=False)
    assert [run.config["problem"]["start"] for run in found.runs] == [[0.625, 1.0], [0.625, 0.0]]


def test_what_is_stored_goes_on(tmp_path):
    sweep = optrun.sweep(
        {**RUN, "problem": "rosenbrock"},
        overrides=[OVERRIDE, "optimizer.lr=1e-4,1e-3"],
        directory=tmp_path / "s",
    )
    again = optrun.sweep(
        tmp_path / "s" / "config.yaml", overrides=["optimizer.lr=1e-4,1e-3,1e-2"], save=False
    )
    assert [run.config["problem"]["start"] for run in again.runs] == [[0.625, 1.0]] * 3
    assert sweep.runs[0].summary == again.runs[0].summary


def test_its_origin_is_the_override(tmp_path):
    (tmp_path / "a.yaml").write_text(text("rosenbrock"))
    place = resolve(tmp_path / "a.yaml", [OVERRIDE]).place(("problem", "start"))
    assert str(place) == f"override {OVERRIDE!r}"


@pytest.mark.parametrize(
    ("problem", "override", "said"),
    [
        ("rosenbrock", "problem.start.2=1", "problem.start.2: '2' is no place in a start of 2 numbers"),
        ("rosenbrock", "problem.start.00=1", "problem.start.00: '00' is no place in a start of 2 numbers"),
        ("rosenbrock", "problem.start.x=1", "problem.start.x: 'x' is no place in a start of 2 numbers"),
        ("rosenbrock", "problem.start={}", "problem.start: must be a list"),
        ("rosenbrock", "problem.start.1=a", "problem.start.1: must be a number"),
        ("{name: rosenbrock, dim: 2.5}", "problem.start.0=1", "1:34: problem.dim: must be an integer"),
        (
            "{name: rosenbrock, dim: 100_000}".replace("_", ""),
            "problem.start.0=1",
            f"more than {MOST_WRITTEN:,} numbers",
        ),
        (
            "{name: beale, init: {uniform: [[-1, 1]]}}",
            "problem.start.0=1",
            "start: has no effect beside init: .*1:30",
        ),
        (
            "{name: softmax_regression, data: iris}",
            "problem.start.0=1",
            "unknown key: the parameters of this problem",
        ),
        (
            "{name: expression, f: x**2, start: {x: 1.0}}",
            "problem.start.0=1",
            "'0' is no name .* problem.start.x",
        ),
        ("{name: expression, f: x**2}", "problem.start.0=1", "'0' is no name .* problem.start.x"),
        ("{name: plateau, start: [1.0, 2.0]}", "problem.start.2=1", "'2' is no place in a list of 2"),
    ],
)
def test_what_is_no_number_of_a_start_is_said_at_its_place(problem, override, said):
    with pytest.raises(ConfigErrors, match=said) as caught:
        parse(text(problem), overrides=[override])
    assert len(caught.value.issues) == 1


def test_axes_of_a_map_without_such_a_number_are_refused_at_their_place():
    window = {"x": {"problem.start.0": [0, 1]}, "y": {"problem.start.5": [0, 1]}}
    with pytest.raises(ConfigErrors, match=r"problem\.start\.5: '5' is no place in a start of 2 numbers"):
        MapPlan(map_from_mapping({**RUN, "problem": "beale", "map": window}))
