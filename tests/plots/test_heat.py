"""Heat maps: the colours are medians of the runs of a cell, as summary.csv has them."""

import csv
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.analysis.heat import heat_of
from optrun.analysis.leaderboard import SweepPlan
from optrun.api.pictures import Choice, picture_of
from optrun.plots.figure import FORMATS
from optrun.plots.heat_figure import DIVERGED, MISSED, heat_figure
from optrun.plots.look import Look
from optrun.store import RunState, Status
from tests.cli.looking import call

__all__ = ["call"]

OVER = ("optimizer.lr", "optimizer.momentum")
GRID = {
    "problem": {"name": "quadratic", "noise": 0.5},
    "optimizer": "SGD",
    "steps": 30,
    "sweep": {
        "repeats": 3,
        "parameters": {
            "problem.noise": [0.5, 2.0],
            "optimizer.lr": [1e-4, 1e-3, 1e-2, 10],
            "optimizer.momentum": [0, 0.5, 0.9],
            "optimizer.nesterov": [False],
            "optimizer.dampening": [0.0, 0.1],
        },
    },
}


def rows_of(path):
    return list(csv.DictReader(Path(path, "summary.csv").read_text(encoding="utf-8").splitlines()))


def losses(rows):
    return [float(row["final_loss"]) if row["status"] == "completed" else np.inf for row in rows]


def test_a_cell_has_the_median_of_its_runs_and_what_diverged_is_hatched():
    pytest.importorskip("matplotlib")
    sweep = optrun.sweep(GRID, directory="runs/grid")
    figure = picture_of([sweep], "heat", Choice(over=OVER), Look())
    rows = rows_of(sweep.path)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["noise=0.5", "noise=2"]
    for axes, noise in zip(panels, [0.5, 2.0], strict=True):
        expected = np.array(
            [
                [
                    np.median(
                        losses(
                            row
                            for row in rows
                            if (float(row["problem.noise"]), float(row[OVER[0]]), float(row[OVER[1]]))
                            == (noise, lr, momentum)
                        )
                    )
                    for lr in [1e-4, 1e-3, 1e-2, 10]
                ]
                for momentum in [0, 0.5, 0.9]
            ]
        )
        drawn = np.ma.filled(axes.collections[0].get_array(), np.inf)
        np.testing.assert_allclose(drawn, expected, rtol=1e-9)
        assert np.isinf(expected).sum() == len(axes.patches) == 3
        assert {patch.get_x() for patch in axes.patches} == {2.5}
        star = axes.get_lines()[1].get_xydata()[0]
        assert tuple(star[::-1]) == np.unravel_index(np.argmin(expected), expected.shape)
        assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "0.5", "0.9"]
    said = figure.legends[0].get_title().get_text()
    assert said == "median final_loss of 6 runs per cell, over values of optimizer.dampening"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["best", "half or more diverged"]


def test_what_diverged_missed_and_is_not_there_look_different():
    pytest.importorskip("matplotlib")
    ends = {
        "reached": RunState(status=Status.TARGET_REACHED, steps=7),
        "missed": RunState(status=Status.COMPLETED, steps=9),
        "diverged": RunState(status=Status.DIVERGED, steps=2),
    }
    cells = [["reached", "missed"], ["diverged", "missed"], ["missed", "missed"], ["diverged", "diverged"]]
    places = [(0.1, 1.0), (0.1, 2.0), (0.2, 1.0), (0.3, 2.0)]
    settings = [{"optimizer.lr": x, "optimizer.momentum": y} for x, y in places]
    plan = SweepPlan(settings, 2, "steps_to_target", maximize=False)
    found = heat_of(plan, [ends[end] for cell in cells for end in cell], OVER)
    assert found.panels[0].diverged.tolist() == [[0, 0, 0], [1, 0, 2]]
    figure = heat_figure(found)
    looks = {patch.get_xy(): patch.get_hatch() for patch in figure.axes[0].patches}
    missed, diverged = MISSED["hatch"], DIVERGED["hatch"]
    assert missed != diverged
    assert looks == {
        (-0.5, -0.5): missed,
        (-0.5, 0.5): diverged,
        (0.5, -0.5): missed,
        (1.5, 0.5): diverged,
    }
    named = dict(
        zip(
            [text.get_text() for text in figure.legends[0].get_texts()],
            figure.legends[0].get_patches(),
            strict=True,
        )
    )
    assert {name: of.get_hatch() for name, of in named.items()} == {
        "half or more diverged": diverged,
        "half or more missed": missed,
        "no result": None,
    }
    assert named["no result"].get_facecolor() == figure.axes[0].get_facecolor()


@pytest.mark.parametrize("maximize", [False, True])
def test_drawn_values_are_binned(maximize):
    generator = np.random.default_rng(3)
    rates, decays = 10 ** generator.uniform(-4, 0, 100), generator.uniform(0, 0.5, 100)
    figures = generator.normal(size=100)
    states = [RunState(status=Status.COMPLETED, summary={"test_loss": each}) for each in figures]
    states[7] = RunState(status=Status.DIVERGED)
    states[8] = RunState(status=Status.FAILED)
    states[9] = RunState(status=Status.WAITING)
    settings = [{"optimizer.lr": a, "optimizer.decay": b} for a, b in zip(rates, decays, strict=True)]
    settings += [{"optimizer.lr": 1.0, "optimizer.momentum": 1.0}]
    plan = SweepPlan(settings, 1, "test_loss", maximize, method="random")
    found = heat_of(plan, [*states, states[0]], ["lr", "decay"])
    assert (found.x.binned, found.x.log, found.y.binned, found.y.log) == (True, True, True, False)
    assert found.left_out == 1
    (panel,) = found.panels
    assert panel.median.shape == (10, 10)
    kept = [index for index in range(100) if index not in (8, 9)]
    edges_x = np.geomspace(rates[kept].min(), rates[kept].max(), 11)
    edges_y = np.linspace(decays[kept].min(), decays[kept].max(), 11)
    figures[7] = -np.inf if maximize else np.inf
    for y in range(10):
        for x in range(10):
            inside = [
                index
                for index in kept
                if edges_x[x] * (1 - 1e-12) <= rates[index] <= edges_x[x + 1] * (1 + (x == 9) * 1e-12)
                and edges_y[y] - 1e-12 <= decays[index] <= edges_y[y + 1] + (y == 9) * 1e-12
            ]
            assert panel.runs[y, x] == len(inside)
            if inside:
                assert panel.median[y, x] == np.median(figures[inside])
    assert panel.runs.sum() == 98
    assert panel.bad.sum() == 1


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("only", [1e-2, 10.0])
def test_the_command_writes_every_format(only, format, call):
    pytest.importorskip("matplotlib")
    block = {"parameters": {"optimizer.lr": [only, 1.1 * only], "optimizer.momentum": [0, 0.5]}}
    optrun.sweep({**GRID, "sweep": block}, directory="runs/a")  # with lr 10, nothing is finite
    options = ("--over", "lr", "--over", "momentum", "-o", f"a.{format}")
    assert call("plot", "runs/a", "--kind", "heat", *options) == (0, f"a.{format}\n", "")
    assert Path(f"a.{format}").stat().st_size > 1000


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "a heat map is over two parameters, such as optimizer.lr, not 0"),
        (("--over", "lr"), "a heat map is over two parameters, such as optimizer.lr, not 1"),
        (("--over", "lr", "--over", "optimizer.lr"), "not twice over optimizer.lr"),
        (
            ("--over", "lr", "--over", "momentun"),
            "'momentun' is not one of the numbers that vary: problem.noise",
        ),
        (("--over", "lr", "--over", "momentum", "-m", "final_los"), "Did you mean 'final_loss'"),
        (("--over", "lr", "--over", "momentum", "--by", "x"), "--by is for --kind best"),
        (("runs/grid", "--over", "lr", "--over", "momentum"), "a heat map needs one sweep, not 2"),
    ],
)
def test_what_cannot_be_drawn_is_said(arguments, said, call):
    optrun.sweep({**GRID, "steps": 2, "sweep": {**GRID["sweep"], "repeats": 1}}, directory="runs/grid")
    done = call("plot", "runs/grid", "-k", "heat", "-o", "a.png", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_two_parameters_are_for_a_heat_map(call):
    optrun.sweep({**GRID, "steps": 2, "sweep": {**GRID["sweep"], "repeats": 1}}, directory="runs/grid")
    done = call("plot", "runs/grid", "-o", "a.png", "--over", "lr", "--over", "momentum")
    assert done.code == 2
    assert "a sensitivity is over one parameter; --kind heat is over two" in done.err
