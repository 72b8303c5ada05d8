"""The curves of the best settings: what is drawn is what the runs recorded."""

import csv
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.api.pictures import DRAW, TAKES, Choice, picture_of
from optrun.cli.arguments import PictureKind, PictureStyle
from optrun.errors import ConfigError
from optrun.plots.figure import FORMATS
from optrun.plots.look import STYLES, Look
from tests.cli.looking import call

__all__ = ["call"]

STUDY = {
    "name": "study",
    "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 32},
    "optimizer": "SGD",
    "steps": 12,
    "record": {"every": 2},
    "sweep": {
        "repeats": 5,
        "parameters": {
            "problem.data": ["iris", "wine"],
            "optimizer.name": ["SGD", "Adam"],
            "optimizer.lr": [1e-3, 1e-1],
        },
    },
}


def lines_of(axes):
    """Return the points of the lines with more than one, by colour."""
    return {line.get_color(): line.get_xydata() for line in axes.get_lines() if len(line.get_xydata()) > 1}


def best_runs(path, data, name):
    """Return the numbers of the runs of the best setting, read from summary.csv."""
    rows = list(csv.DictReader(Path(path, "summary.csv").read_text(encoding="utf-8").splitlines()))
    groups = {}
    for row in rows:
        if (row["problem.data"], row["optimizer.name"]) == (data, name):
            groups.setdefault(row["optimizer.lr"], []).append(row)
    best = min(groups.values(), key=lambda group: np.median([float(row["final_loss"]) for row in group]))
    return [int(row["run"]) for row in best]


@pytest.mark.parametrize("smooth", [1, 3])
def test_the_lines_are_medians_of_the_best_settings(smooth):
    pytest.importorskip("matplotlib")
    sweep = optrun.sweep(STUDY, directory="runs/study")
    figure = picture_of([sweep], "best", Choice(smooth=smooth), Look())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SGD", "Adam"]
    colours = [handle.get_color() for handle in figure.legends[0].get_lines()]
    for axes, data in zip(figure.axes, ["iris", "wine"], strict=True):
        assert data in axes.get_title()
        for colour, name in zip(colours, ["SGD", "Adam"], strict=True):
            runs = [optrun.load_run(sweep.path, run).curves for run in best_runs(sweep.path, data, name)]
            assert len(runs) == 5
            losses = np.array(
                [
                    [run["loss"][max(0, k - smooth + 1) : k + 1].mean() for k in range(len(run["loss"]))]
                    for run in runs
                ]
            )
            drawn = lines_of(axes)[colour]
            np.testing.assert_array_equal(drawn[:, 0], runs[0]["step"])
            np.testing.assert_allclose(drawn[:, 1], np.median(losses, axis=0), rtol=1e-12)
    said = figure.legends[0].get_title().get_text()
    assert said == "best settings by final_loss: median and quartiles of 5 seeds"
    assert ("running mean over 3 recorded steps" in figure.get_supxlabel()) is (smooth == 3)


EVALUATED = {
    **STUDY,
    "problem": {**STUDY["problem"], "validation_fraction": 0.2},
    "evaluate": {"every": 4},
    "sweep": {"repeats": 3, "parameters": {"optimizer.name": ["SGD", "Adam"]}},
}


@pytest.mark.parametrize(
    ("metric", "every", "drawn"),
    [
        ("val_loss", 4, "test_loss"),  # which a comparison reports
        ("best_val_accuracy", 4, "test_accuracy"),
        ("area_train_loss", 4, "train_loss"),
        ("final_loss", 4, "loss"),
        ("val_loss", None, "loss"),  # evaluated at the end alone
    ],
)
def test_the_curve_is_that_of_the_figure_if_runs_were_evaluated(metric, every, drawn):
    pytest.importorskip("matplotlib")
    block = {**EVALUATED["sweep"], "metric": {"name": metric}}
    sweep = optrun.sweep({**EVALUATED, "evaluate": {"every": every}, "sweep": block}, save=False)
    figure = sweep.plot("best")
    assert figure.get_supylabel() == drawn
    assert figure.legends[0].get_title().get_text().startswith(f"best settings by {metric}: ")
    of = "curves" if drawn == "loss" else "evaluations"
    wanted = np.median([getattr(run, of)[drawn] for run in sweep.runs[:3]], axis=0)
    assert next(iter(lines_of(figure.axes[0]).values()))[:, 1].tolist() == wanted.tolist()


def test_a_confirmation_is_drawn_in_place_of_the_seeds_of_the_selection():
    pytest.importorskip("matplotlib")
    config = {**STUDY, "sweep": {**STUDY["sweep"], "repeats": 2, "confirm": {"seeds": 3}}}
    sweep = optrun.sweep(config, save=False)
    figure = picture_of([sweep], "best", Choice(by="optimizer.name"), Look())
    assert figure.legends[0].get_title().get_text().endswith("median and quartiles of 3 fresh seeds")
    fresh = [
        np.median([run.curves["loss"] for run in sweep.confirmed.runs[at : at + 3]], axis=0)
        for at in (0, 3, 6, 9)
    ]
    drawn = [points[:, 1] for axes in figure.axes for points in lines_of(axes).values()]
    assert len(drawn) == 4
    assert all(any(np.array_equal(one, other) for other in fresh) for one in drawn)


GONE = {
    "problem": "rosenbrock",
    "optimizer": "SGD",
    "steps": 60,
    "sweep": {"parameters": {"optimizer.name": ["SGD", "Adam"], "optimizer.lr": [0.1]}},
}


def test_what_diverged_is_named_and_leaves_the_others_their_range():
    pytest.importorskip("matplotlib")
    sweep = optrun.sweep(GONE, save=False)
    assert sweep.states[0].status == "diverged"
    figure = picture_of([sweep], "best", Choice(), Look())
    axes = figure.axes[0]
    assert axes.get_title() == "rosenbrock\nSGD: all diverged"
    loss = sweep.runs[1].curves["loss"]
    assert axes.get_ylim() == pytest.approx(
        (loss.min() - 0.05 * np.ptp(loss), loss.max() + 0.05 * np.ptp(loss))
    )
    assert figure.legends[0].get_title().get_text().endswith("one seed")


@pytest.mark.parametrize("format", FORMATS)
def test_the_command_writes_every_format(format, call):
    pytest.importorskip("matplotlib")
    optrun.sweep(GONE, directory="runs/gone")
    done = call("plot", "runs/gone", "--kind", "best", "-o", f"best.{format}")
    assert (done.code, done.out, done.err) == (0, f"best.{format}\n", "")
    assert Path(f"best.{format}").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--metric", "los"), "no curve 'los'. Did you mean 'loss'?"),
        (("--by", "optimizer.nam"), "optimizer.nam: no run of the sweep has it"),
        (("--over", "optimizer.lr"), "--over is for --kind sensitivity or heat, not for best"),
    ],
)
def test_what_cannot_be_drawn_is_said(arguments, said, call):
    optrun.sweep(GONE, directory="runs/gone")
    done = call("plot", "runs/gone", "--kind", "best", "-o", "best.png", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.mark.full
@pytest.mark.parametrize(
    "kind", [kind for kind in PictureKind if kind not in ("curves", "sensitivity", "trajectory")]
)
def test_a_single_run_is_no_sweep(kind, call):
    optrun.run({key: GONE[key] for key in GONE if key != "sweep"}, directory="runs/one")
    done = call("plot", "runs/one", "--kind", kind, "-o", "a.png")
    assert (done.code, done.err) == (2, f"runs/one: a single run: --kind {kind} needs a sweep\n")
    optrun.sweep(GONE, directory="runs/gone")
    assert (
        f"optrun plot --kind {kind} runs/gone" in call("plot", "runs/gone:1", "-k", kind, "-o", "a.png").err
    )


def test_the_command_has_every_kind_and_every_style():
    assert [*PictureKind] == [*TAKES] == [*DRAW]
    assert [*PictureStyle] == [*STYLES]
    assert set(Choice.__dataclass_fields__) == {option for options in TAKES.values() for option in options}


def test_many_that_diverged_are_counted():
    pytest.importorskip("matplotlib")
    block = {"parameters": {"optimizer.lr": [1e-4, 1.0, 2.0, 3.0]}}
    figure = optrun.sweep({**GONE, "sweep": block}, save=False).plot("best")
    assert figure.axes[0].get_title() == "rosenbrock\n3 of 4 settings with diverged runs"


def test_a_kind_that_is_unknown_is_named():
    with pytest.raises(ConfigError, match=r"kind 'bst': it is one of curves, .*Did you mean 'best'"):
        Choice().check("bst")
    with pytest.raises(ConfigError, match="smooth 0: it is a number of recorded steps, 1 or more"):
        Choice(smooth=0).check("best")
    with pytest.raises(ConfigError, match=r"by is for kind best.*, not for curves"):
        Choice(by="optimizer.name").check("curves")
