"""Performance profiles and rankings: what is drawn follows from summary.csv."""

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.analysis.statistics import cost_ratios, performance_profile, profile_score
from optrun.plots.figure import FORMATS
from optrun.plots.look import Look
from optrun.plots.ranking_figures import profile_figure, ranking_figure
from tests.cli.looking import call

__all__ = ["call"]

NAMES = ["SGD", "Adam", "RMSprop"]
STUDY = {
    "name": "study",
    "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 32},
    "optimizer": "SGD",
    "steps": 20,
    "sweep": {
        "repeats": 6,
        "parameters": {
            "problem": [
                {"name": "softmax_regression", "data": "iris"},
                {"name": "softmax_regression", "data": "wine"},
                {"name": "rosenbrock"},
            ],
            "optimizer.name": NAMES,
            "optimizer.lr": [1e-3, 1e-2, 1e-1],
        },
    },
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return optrun.sweep(STUDY, directory=tmp_path_factory.mktemp("runs") / "study").path


def costs_of(path):
    """Return the final losses of the best settings, `[problems, optimizers, seeds]`, read from summary.csv."""
    rows = list(csv.DictReader(Path(path, "summary.csv").read_text(encoding="utf-8").splitlines()))
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    found = []
    for problem in problems:
        for name in NAMES:
            settings = {}
            for row in rows:
                if (row["problem"], row["optimizer.name"]) == (problem, name):
                    loss = float(row["final_loss"]) if row["status"] == "completed" else np.inf
                    settings.setdefault(row["optimizer.lr"], []).append(loss)
            found.append(min(settings.values(), key=np.median))
    return np.array(found).reshape(len(problems), len(NAMES), 6)


def test_the_lines_of_a_profile_are_parts_of_the_problems(study):
    pytest.importorskip("matplotlib")
    figure = profile_figure(optrun.compare(study))
    medians = np.median(costs_of(study), axis=-1)
    ratios = medians / medians.min(axis=1)[:, None]
    assert len({*ratios.ravel()}) > 3
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    lines = [line for line in figure.axes[0].get_lines() if len(line.get_xydata())]
    assert len(lines) == len(labels) == 3
    taus = np.linspace(1, 4, 1000)
    for line, label in zip(lines, labels, strict=True):
        name, area = label.split()
        of = ratios[:, NAMES.index(name)]
        assert line.get_drawstyle() == "steps-post"
        at = np.searchsorted(line.get_xdata(), taus, side="right") - 1
        drawn = line.get_ydata()[at]
        np.testing.assert_allclose(drawn, [(of <= tau).mean() for tau in taus])
        assert float(area) == pytest.approx(drawn[:-1].mean(), abs=0.01)
    assert [float(label.split()[1]) for label in labels] == sorted(
        (float(label.split()[1]) for label in labels), reverse=True
    )


def test_a_ranking_has_scores_with_intervals_and_mean_ranks(study):
    pytest.importorskip("matplotlib")
    figure = ranking_figure(optrun.compare(study, baseline="SGD"))
    scores, ranks = figure.axes
    costs = costs_of(study)
    medians = np.median(costs, axis=-1)
    low, high = medians.min(axis=1)[:, None, None], medians.max(axis=1)[:, None, None]
    normalised = np.clip((high - costs) / (high - low), 0, 1).transpose(1, 0, 2)
    middle = []
    for of_name in normalised:
        # Seeds that change nothing are one value; a quarter at each end is left out.
        values = np.sort(np.concatenate([each[:1] if len({*each}) == 1 else each for each in of_name]))
        cut = len(values) // 4
        middle.append(values[cut : len(values) - cut].mean())
    middle = np.array(middle)
    mean_ranks = (np.argsort(np.argsort(medians, axis=1), axis=1) + 1).mean(axis=0)
    order = np.argsort(-middle)
    assert [text.get_text() for text in scores.get_yticklabels()] == [NAMES[at] for at in order]
    points = {line.get_ydata()[0]: line for line in scores.get_lines() if len(line.get_xdata()) == 1}
    spans = {
        line.get_ydata()[0]: line.get_xdata() for line in scores.get_lines() if len(line.get_xdata()) == 2
    }
    for row, at in enumerate(order):
        score = points[row].get_xdata()[0]
        assert score == pytest.approx(middle[at])
        if row in spans:  # what is the best everywhere has no interval
            assert spans[row][0] <= score <= spans[row][1]
        assert ranks.get_lines()[row].get_xdata()[0] == pytest.approx(mean_ranks[at])
    assert len({line.get_color() for line in points.values()}) == 2
    assert points[list(order).index(0)].get_color() == "#909090"


@pytest.mark.parametrize("kind", ["profile", "ranking"])
@pytest.mark.parametrize("format", FORMATS)
def test_the_command_writes_every_format(kind, format, study, call):
    pytest.importorskip("matplotlib")
    done = call("plot", study, "--kind", kind, "-o", f"a.{format}", "--by", "optimizer.name")
    assert (done.code, done.out, done.err) == (0, f"a.{format}\n", "")
    assert Path(f"a.{format}").stat().st_size > 1000


@pytest.mark.full
@pytest.mark.parametrize(
    ("overrides", "arguments", "said"),
    [
        ((), ("-k", "profile", "--smooth", "3"), "--smooth is for --kind curves or best, not for profile"),
        ((), ("-k", "ranking", "--linear"), "--linear is for --kind curves or"),
        ((), ("-k", "profile", "-m", "test_accuracy"), "no run has the metric test_accuracy"),
        (
            ("sweep.parameters.problem=null",),
            ("-k", "ranking"),
            "a ranking is over several problems, and there is one",
        ),
        (
            ("sweep.parameters.problem=null",),
            ("-k", "profile"),
            "a profile is over several problems, and there is one",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said(overrides, arguments, said, call):
    sweep = {**STUDY["sweep"], "parameters": dict(STUDY["sweep"]["parameters"]), "repeats": 1}
    sweep["parameters"]["problem"] = ["rosenbrock"] if overrides else ["rosenbrock", "beale"]
    optrun.sweep({**STUDY, "problem": "rosenbrock", "sweep": sweep}, directory="runs/few")
    done = call("plot", "runs/few", "-o", "a.png", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_values_without_a_ratio_are_refused(study):
    pytest.importorskip("matplotlib")
    found = optrun.compare(study, metric="final_loss")
    object.__setattr__(found.problems[0].rows[1], "median", -0.5)
    with pytest.raises(optrun.errors.ConfigError, match=r"positive values: final_loss of .* is -0.5"):
        profile_figure(found)
    object.__setattr__(found, "goal", "maximize")
    with pytest.raises(optrun.errors.ConfigError, match="of what is minimized: final_loss is maximized"):
        profile_figure(found)


@pytest.mark.parametrize("count", [2, 30])
def test_rows_do_not_overlap(count, study):
    pytest.importorskip("matplotlib")
    found = optrun.compare(study)
    rank = found.ranking[0]
    object.__setattr__(found, "ranking", [rank] * count)
    for look in (Look(), Look(size=(5, 4))):
        figure = ranking_figure(found, look=look)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
        assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(boxes))


def test_a_problem_on_which_all_diverged_favours_nobody():
    costs = np.array([[1.0, 2.0, np.inf], [np.inf, np.inf, np.inf], [3.0, 1.0, 1.0]])
    ratios = cost_ratios(costs)
    assert ratios.tolist() == [[1.0, 2.0, np.inf], [np.inf] * 3, [3.0, 1.0, 1.0]]
    assert performance_profile(ratios, np.array([1.0, 2.0, 1e300])) == pytest.approx(
        np.array([[1, 1, 1], [1, 2, 1], [2, 2, 1]]) / 3
    )
    assert profile_score(ratios) == pytest.approx(np.array([1 + 1 / 3, 1 + 2 / 3, 1]) / 3)
