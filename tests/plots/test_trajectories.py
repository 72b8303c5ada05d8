"""Ways of runs over the contours of their function: what is drawn is where the runs were."""

import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.api.trajectories import ways_of
from optrun.plots.trajectory_figure import trajectory_figure
from optrun.registry import problems
from tests.cli.looking import call
from tests.registries import restore_after

__all__ = ["call"]

CONFIG = {
    "problem": {"name": "rosenbrock", "start": [-1.0, 1.5]},
    "optimizer": {"name": "Adam", "lr": 0.1},
    "steps": 12,
    "record": {"params": {"every": 5}},
}
FUNCTION = {"name": "expression", "f": "a**2 + 2 * b**2", "start": {"a": 1.0, "b": 2.0}}


@pytest.fixture
def runs():
    rates = [0.1, 0.3]
    return [optrun.run(CONFIG, overrides=[f"optimizer.lr={lr}"], directory=f"lr{lr}") for lr in rates]


def test_a_trajectory_is_where_the_run_was_and_ends_where_it_ended(runs):
    steps, params = runs[0].trajectory()
    assert steps.tolist() == [0, 5, 10, 12]
    for step, x in zip(steps.tolist(), params["x"], strict=True):
        np.testing.assert_array_equal(x, runs[0].params_at(step)["x"])
    np.testing.assert_array_equal(params["x"][-1], runs[0].params["x"])


def test_lines_stars_and_contours_are_those_of_the_runs_and_their_function(runs):
    pytest.importorskip("matplotlib")
    figure = trajectory_figure(*ways_of(runs))
    axes = figure.axes[0]
    lines = axes.get_lines()
    for line, run in zip(lines[::3], runs, strict=False):
        np.testing.assert_allclose(line.get_xydata(), run.trajectory()[1]["x"], rtol=1e-6)
    assert [[1.0, 1.0]] in [line.get_xydata().tolist() for line in lines]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["lr=0.1", "lr=0.3", "minimum", "start"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x[0]", "x[1]")
    contours = axes.collections[1]
    for level, paths in zip(contours.levels, contours.get_paths(), strict=True):
        x, y = paths.vertices.T
        np.testing.assert_allclose(
            100 * (y - x**2) ** 2 + (1 - x) ** 2, level, atol=0.01 * contours.levels[-1]
        )
    assert np.ptp(np.diff(np.log(contours.levels))) < 1e-9


PLUGIN = """
from optrun.problems import Function


class Bent(Function):
    minimum, minimizers = 0.0, [[0.0]]

    @staticmethod
    def f(x, /):
        return x[0] ** 2 + (x[1] + x[0] ** 2) ** 2
"""


def test_the_command_draws_over_a_function_of_a_plugin(call, monkeypatch):
    pytest.importorskip("matplotlib")
    for name in ("run.py", "plot.py"):
        Path(name).write_text(PLUGIN)
    with monkeypatch.context() as patch:
        restore_after(patch, problems)
        optrun.run({**CONFIG, "problem": "bent"}, directory="bent", plugins=["run.py"])
    restore_after(monkeypatch, problems)
    refused = call("plot", "bent", "-k", "trajectory", "-o", "bent.svg")
    assert (refused.code, "unknown problem 'bent'" in refused.err) == (2, True)
    drawn = call("plot", "bent", "-k", "trajectory", "-o", "bent.svg", "--plugin", "plot.py")
    assert drawn == (0, "bent.svg\n", "")


@pytest.mark.parametrize("f", ["floor(a) * 0 + (a > 0) + 0 * b", "exp(exp(11 * a)) + b**2"])
def test_a_function_of_two_values_and_one_that_overflows_are_drawn(f):
    pytest.importorskip("matplotlib")
    problem = {"name": "expression", "f": f, "start": {"a": 0.4, "b": 1.0}}
    config = {**CONFIG, "problem": problem, "optimizer": {"name": "SGD", "lr": 1e-120}, "dtype": "float64"}
    runs = [optrun.run(config, overrides=[f"problem.start.a={a}"], directory=f"from{a}") for a in (-0.5, 0.5)]
    assert len(trajectory_figure(*ways_of(runs)).axes) == 2  # with a bar of colours


def test_the_command_draws_runs_and_the_best_settings_of_sweeps(runs, call):
    pytest.importorskip("matplotlib")
    done = call("plot", "lr0.1", "lr0.3", "--kind", "trajectory", "-o", "ways.svg")
    assert done == (0, "ways.svg\n", "")
    sweep = {**CONFIG, "problem": FUNCTION, "sweep": {"parameters": {"optimizer.name": ["SGD", "Adam"]}}}
    optrun.sweep(sweep, directory="both")
    assert call("plot", "both", "-k", "trajectory", "--linear", "-o", "both.png").code == 0
    bar = optrun.load_sweep("both").plot("trajectory", log=False).axes[1]
    steps = np.unique(np.diff(bar.get_yticks()).round(9))
    assert len(steps) == 1
    assert f"{steps[0]:.0e}"[0] in "125"
    assert [float(each.get_text()) for each in bar.get_yticklabels()] == bar.get_yticks().tolist()
    figure = optrun.load_sweep("both").plot("trajectory")
    assert figure.axes[0].get_xlabel() == "a"
    assert {"SGD", "Adam", "start"} <= {text.get_text() for text in figure.legends[0].get_texts()}


def test_moving_pictures_have_a_frame_for_each_step(call):
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    optrun.run(CONFIG, overrides=["steps=3", "record.params={every: 1}"], directory="short")
    for name in ("ways.gif", "ways.html"):
        assert call("plot", "short", "--animate", name, "--size", "4x3", "--dpi", 60) == (0, f"{name}\n", "")
    page = Path("ways.html").read_text(encoding="utf-8")
    still, *frames = (
        image.open(BytesIO(b64decode(png))) for png in re.findall('"data:image/png;base64,([^"]+)"', page)
    )
    with image.open("ways.gif") as moving:
        assert (moving.size, moving.n_frames) == ((120, 90), 4)  # the frames that hold the end are one
        assert len(frames) == 4
        for index, frame in enumerate(frames):
            moving.seek(index)
            shown = np.asarray(image.alpha_composite(still.convert("RGBA"), frame.convert("RGBA")))
            np.testing.assert_array_equal(shown[..., :3], np.asarray(moving.convert("RGB")))
            assert 0 < np.asarray(frame.convert("RGBA"))[..., 3].mean() < 25  # most is of the still picture


REFUSED = {
    "nothing kept": ({"record": {}}, (), r"run it with record: \{params: \{every: 1\}\}"),
    "a network": ({"problem": {"name": "mlp", "data": "iris"}}, (), "a function of two numbers: mlp has"),
    "three numbers": (
        {"problem": {"name": "sphere", "dim": 3}},
        (),
        "function of two numbers: sphere has 3 parameters",
    ),
    "two functions": (
        {"problem": "himmelblau"},
        ("lr0.1",),
        "these runs have two: himmelblau and rosenbrock",
    ),
    "a metric": ({}, ("--metric", "lr"), "--metric is for --kind curves"),
    "a film": ({}, ("--animate", "a.mp4"), "a moving picture ends in .gif, .html"),
    "another kind": ({}, ("--animate", "a.gif", "-k", "heat"), "--animate moves trajectories, not heat"),
}


@pytest.mark.parametrize(("change", "more", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_drawn_is_refused(change, more, said, runs, call):
    pytest.importorskip("matplotlib")
    optrun.run({**CONFIG, **change}, directory="own")
    kind = [] if "-k" in more else ["-k", "trajectory"]
    done = call("plot", "own", *more, *kind, *([] if "--animate" in more else ["-o", "own.png"]))
    assert done.code == 2
    assert re.search(said, done.err), done.err


def test_a_picture_needs_a_file(runs, call):
    assert "name a file: -o FILE, or --animate FILE" in call("plot", "lr0.1").err


def test_rules_are_told_apart_by_what_their_runs_say_of_them(tmp_path):
    pytest.importorskip("matplotlib")
    rules = [{"name": "SGD", "lr": 1e-3, "momentum": 0.5}, {"name": "Adam"}, {"name": "Adam", "beta1": 0.5}]
    runs = [optrun.run({**CONFIG, "optimizer": rule}, save=False) for rule in rules]
    assert [way.label for way in ways_of(runs)[1]] == [
        "SGD, momentum=0.5",
        "Adam",
        "Adam, beta1=0.5",
    ]


def test_no_label_leaves_the_picture(tmp_path):
    pytest.importorskip("matplotlib")
    landscape, (way, *_) = ways_of([optrun.run(CONFIG, save=False)])
    label = ", ".join(f"option{i}=$0.125" for i in range(9))
    figure = trajectory_figure(landscape, [replace(way, label=label)])
    figure.draw_without_rendering()
    text = figure.legends[0].get_texts()[0]
    assert "".join(text.get_text().split()).replace("\\", "") == "".join(label.split())
    assert text.get_window_extent().x1 < figure.bbox.x1
